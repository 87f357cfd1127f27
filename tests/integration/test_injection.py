"""Commands of a plan through real shells: every word arrives as it was, and nothing else is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.cluster.load import parse
from deploy.launch import plan
from deploy.launch.secret import secrets_text
from deploy.launch.takedown import takedown
from tests.unit.launch.samples import DIGEST, GOLDEN, sparks
from tests.unit.security.fields import NASTY, TWO_NODES, texts, written

pytestmark = pytest.mark.integration
SHELLS = [name for name in ("sh", "dash", "bash") if shutil.which(name)]
_DOCKER = """#!/bin/sh
# A stand-in for docker that keeps its arguments, each ended by a NUL.
printf '%s\\0' "$@" > "$ARGUMENTS"
"""
VALUES = st.text(st.sampled_from([one for one in NASTY if one not in "\0\r\x1b\x7f"]), max_size=30)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "docker").write_text(_DOCKER)
    (folder / "docker").chmod(0o755)
    return folder


def run(shell: str, tools: Path, command: plan.Command) -> list[str]:
    """The words that docker got; the folder holds nothing more than before."""
    before, arguments = sorted(tools.iterdir()), tools.parent / "arguments"
    environ = {"PATH": f"{tools}:{os.environ['PATH']}", "ARGUMENTS": str(arguments), "HOME": str(tools.parent)}
    done = subprocess.run(
        (shell, "-c", str(command)), cwd=tools, env=environ, input=command.stdin, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(tools.iterdir()) == before
    return arguments.read_text(encoding="utf-8", errors="surrogateescape").split("\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("field", [("environment", "*"), ("model", "path"), ("server", "*"), ("server", "*", "{}")])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_docker_gets_every_word_as_it_is(tools: Path, shell: str, field: tuple[str, ...], data: st.DataObject) -> None:
    from deploy.errors import ConfigError

    try:
        cluster = parse("c.yaml", written(field, data.draw(texts(field) | VALUES))).cluster
    except ConfigError:
        return
    todo = plan.up(cluster, f"ghcr.io/owner/name@{DIGEST}", sparks(cluster), {"HF_TOKEN": "x"})
    start = todo.steps[-1].commands[1]
    assert run(shell, tools, start) == list(start.argv[1:])


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.tuples(VALUES, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)))
def test_a_shell_reads_secrets_back_to_the_letter_and_exports_no_key(
    tools: Path, shell: str, values: tuple[str, str]
) -> None:
    cluster = parse("c.yaml", (GOLDEN / "two-nodes" / "cluster.yaml").read_text() + "api_key: API_KEY\n").cluster
    file = tools.parent / "secrets"
    file.write_text(secrets_text(cluster, 0, {"HF_TOKEN": values[0], "API_KEY": values[1]}))
    script = f'. {file}; printf %s "$HF_TOKEN"; env | grep -c SGLANG_SPARK_API_KEY= >&2'
    done = subprocess.run((shell, "-c", script), env={"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert (done.stdout.decode(), done.stderr.strip()) == (values[0], b"0")


def test_the_secrets_file_is_its_owner_s_before_and_after_it_has_content(tools: Path, tmp_path: Path) -> None:
    text = (GOLDEN / "two-nodes" / "cluster.yaml").read_text() + "mounts: {huggingface: ~/$(id), compile: '~/a b'}\n"
    cluster = parse("c.yaml", text).cluster
    home = tmp_path / "it's home"
    home.mkdir()
    facts = [plan.replace(node, home=str(home)) for node in sparks(cluster)]
    prepare = next(one for one in plan.up(cluster, f"a/b@{DIGEST}", facts, {"HF_TOKEN": "x"}).steps
                   if one.title == "prepare").commands[0]  # fmt: skip
    file = home / ".cache" / "sglang-spark" / "two-nodes.secrets.env"
    file.parent.mkdir(parents=True)
    file.write_text("left by another run")
    file.chmod(0o644)
    subprocess.run(("sh", "-c", f"umask 000; {prepare}"), input=prepare.stdin, text=True, check=True)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("export HF_TOKEN='x'\n", 0o600)
    assert {one.name for one in home.iterdir()} == {".cache", "$(id)", "a b"}
    assert run("sh", tools, takedown(cluster.name, 0))[:2] == ["ps", "--all"]
    assert TWO_NODES["name"] == cluster.name
