"""Secrets and the API key: what is written, who gets it, and what becomes the server."""

from __future__ import annotations

import shlex

import pytest

from deploy.cluster.load import load, parse
from deploy.cluster.spec import Cluster
from deploy.inside.serve import KEY, key_in
from deploy.launch import plan
from deploy.launch.secret import SECRETS_MOUNT, SERVE, secrets_text
from deploy.launch.sglang import server_argv
from tests.unit.launch.samples import DIGEST, GOLDEN, sparks

IMAGE = f"ghcr.io/owner/sglang-spark-glm47@{DIGEST}"
MARK = "it's-hunter2;$HOME`id`"


def cluster(more: str) -> Cluster:
    return parse("c", (GOLDEN / "four-sparks" / "cluster.yaml").read_text() + more).cluster


KEYED = "api_key: API_KEY\n"
BOTH = KEYED + "secrets: [HF_TOKEN]\n"


def test_a_secret_is_quoted_to_the_letter() -> None:
    text = secrets_text(cluster("secrets: [A]\n"), 0, {"A": "it's $HOME\n`id`"})
    assert text == "export A='it'\\''s $HOME\n`id`'\n"


def test_the_key_is_read_back_from_the_secrets_file_to_the_letter() -> None:
    text = secrets_text(cluster(BOTH), 0, {"HF_TOKEN": "export SGLANG_SPARK_API_KEY='no'\n", "API_KEY": MARK})
    assert str(key_in(text)) == MARK


def test_the_key_is_not_exported_and_only_rank_0_gets_it() -> None:
    values = {"HF_TOKEN": "t", "API_KEY": MARK}
    head, worker = (secrets_text(cluster(BOTH), rank, values).splitlines() for rank in (0, 1))
    assert [line.split("=")[0] for line in head] == ["export HF_TOKEN", KEY]
    assert worker == head[:1]


def test_the_program_ends_where_the_file_has_no_key() -> None:
    for text in ("", "export A='b'\n", f"{KEY}=''\n"):
        with pytest.raises(SystemExit, match="no line SGLANG_SPARK_API_KEY="):
            key_in(text)


def test_rank_0_becomes_the_server_by_way_of_the_program_that_reads_the_key() -> None:
    one = cluster(KEYED)
    head, worker = (plan.rank_container(one, rank, IMAGE, node) for rank, node in enumerate(sparks(one)[:2]))
    assert head.argv == ("python3", SERVE, SECRETS_MOUNT, *server_argv(one, 0)[2:])
    assert head.argv[3] == "sglang.launch_server"
    assert [mount for mount in head.mounts if mount.endswith(f":{SECRETS_MOUNT}:ro")]
    assert worker.argv == server_argv(one, 1)
    assert len(worker.mounts) == len(head.mounts) - 1


def test_with_other_secrets_the_shell_reads_them_first() -> None:
    one = cluster(BOTH)
    head, worker = (plan.rank_container(one, rank, IMAGE, node).argv for rank, node in enumerate(sparks(one)[:2]))
    assert head[:4] == worker[:4] == ("sh", "-c", f'. {SECRETS_MOUNT}; exec "$@"', "sh")
    assert head[4:7] == ("python3", SERVE, SECRETS_MOUNT)
    assert worker[4:] == server_argv(one, 1)


def test_a_key_travels_as_input_and_is_in_nothing_that_is_shown() -> None:
    one = cluster(KEYED)
    todo = plan.up(one, IMAGE, sparks(one), {"API_KEY": MARK})
    prepare = next(step for step in todo.steps if step.title == "prepare").commands
    assert shlex.split(prepare[0].stdin) == [f"{KEY}={MARK}"]
    assert [prepare[rank].stdin for rank in (1, 2, 3)] == ["", "", ""]
    for shown in (repr(todo), plan.describe(todo, one), plan.as_json(todo, one)):
        assert "hunter2" not in shown


def test_without_a_key_nothing_of_it_is_in_the_plan() -> None:
    one = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster
    shown = plan.as_json(plan.up(one, IMAGE, sparks(one), {}), one)
    assert "serve.py" not in shown
    assert SECRETS_MOUNT not in shown
