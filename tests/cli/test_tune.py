"""`tune` as a user meets it where there is no GPU: plans, mistakes and their exit codes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.cli.test_command_line import run

GLM = ("--model", "zai-org/GLM-4.7-FP8", "--tp-size", "4")


def test_a_command_line_of_sglang_s_tool_is_taken_as_it_is(root: Path) -> None:
    words = ("--dtype", "fp8_w8a8", "--tune", "--seed", "0", "--batch-size", "1", "16", "--per-channel-quant")
    done = run(root, "tune", "--local", *GLM, *words, "-n", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["batch_sizes"] == [1, 16]
    assert plan["shape"]["per_channel"]
    assert plan["candidates"] == {"up": 364, "down": 364}


def test_the_plan_for_a_cluster_contacts_nobody(root: Path) -> None:
    done = run(root, "tune", "--nodes", "tests/golden/four-sparks/cluster.yaml", "-n")
    assert done.returncode == 0, done.stderr
    assert "the nodes of tests/golden/four-sparks/cluster.yaml" in done.stdout
    assert "_down.json" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tune",), "neither is given"),
        (("tune", "--local", "--nodes", "cluster.yaml"), "--nodes and --local are given"),
        (("tune", "--local", "--from-journal"), "--local and --from-journal are given"),
        (("tune", "--from-journal", *GLM, "--journal", "/no/journal"), "/no/journal: there is no journal"),
        (("tune", "--nodes", "/no/cluster.yaml"), "/no/cluster.yaml"),
        (("tune", "--local", *GLM, "--batch-size", "0"), "--batch-size 0: is no batch size"),
        (("tune", "--local", *GLM, "--dtype", "int3"), "--dtype int3: is not known here"),
        (("tune", "--local", *GLM, "--ep-size", "2"), "--tp-size 4 cannot cut them"),
        (("tune", "--local", "--model", "zai-org/GLM-4.7-FP8", "--tp", "7"), "cannot be cut into 7 equal parts"),
        (("tune", "--local", "--model", "nobody/nothing"), "no config.json of it is on this machine"),
        (("tune", "--local", *GLM, "--configs", "README.md"), "--configs README.md: is no JSON"),
        (("tune", "compare", "default", "default", "--local"), "both are default"),
        (("tune", "compare", "default", "/no/table.json", "--local"), "/no/table.json: is no file"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(root: Path, words: tuple[str, ...], expected: str) -> None:
    done = run(root, *words)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_starts(root: Path) -> None:
    done = run(root, "tune", "--local", *GLM, "--plot", "times.txt")
    assert done.returncode == 9
    assert "times.txt: is no picture that can be made" in done.stderr


def test_options_before_compare_are_not_swallowed(root: Path) -> None:
    done = run(root, "tune", "--local", "compare", "default", "x.json")
    assert done.returncode == 2
    assert "options go after `compare`" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is here")
def test_without_pytorch_it_says_where_to_run(root: Path, tmp_path: Path) -> None:
    done = run(root, "tune", "--local", *GLM, "--journal", str(tmp_path / "journal.jsonl"))
    assert done.returncode == 7
    assert "PyTorch is not installed" in done.stderr
    assert "--nodes cluster.yaml" in done.stderr
    assert list(tmp_path.iterdir()) == []
