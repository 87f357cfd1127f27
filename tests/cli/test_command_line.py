"""The command line as a user meets it: help, mistakes and exit codes, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
COMMANDS = (
    *("render", "build", "push", "mirror", "model", "up", "status"),
    *("logs", "ask", "down", "lab", "patches", "kernels", "tune", "bench"),
)
HEAVY = {"docker", "matplotlib", "triton", "fabric", "paramiko", "pydantic", "jinja2", "yaml", "rich", "requests"}
GOOD = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()


def run(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(root / "build-and-deploy.py"), *words]
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False, env={**os.environ, **environ})


def test_help_lists_every_command_and_imports_nothing_heavy(root: Path) -> None:
    argv = [sys.executable, "-X", "importtime", str(root / "build-and-deploy.py"), "--help"]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(root: Path, command: str) -> None:
    done = run(root, command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Options:" in done.stdout


def test_without_its_environment_one_line_says_how_to_get_it(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "build-and-deploy.py"
    script.write_text((root / "build-and-deploy.py").read_text())
    bare = [sys.executable, "-S", "-E", str(script), "--help"]
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"build-and-deploy.py: its environment is missing; `make environment` in {tmp_path} makes it\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file or directory"),
        ("name: [", "c.yaml:1:"),
        (GOOD + "name: again\n", "name: the key was given before, in line 1"),
        (GOOD + "sever: {}\n", "sever: unknown key; did you mean server?"),
        (GOOD + "rendezvous_port: high\n", "rendezvous_port: input should be a valid integer (found 'high')"),
        (GOOD.replace("192.168.101.12", "192.168.101.11"), "192.168.101.11 is nodes[0] already"),
        (GOOD + "server: {tp: 3}\n", "server.tp: 3 x pipeline 1 ranks cannot be spread evenly over 4 nodes"),
        (GOOD + "server: {max-runing-requests: 3}\n", "did you mean max-running-requests?"),
        (GOOD + "server: {nnodes: 4}\n", "server.nnodes: must not be given: it is the number of nodes in this file"),
        (GOOD.replace("image:", "image:\n  sglang: 9.9.9"), "image.sglang: no table of flags for SGLang 9.9.9; known:"),
        (GOOD + "api_key: NOT_SET_ANYWHERE\n", "api_key: NOT_SET_ANYWHERE is not set in your shell"),
        (GOOD + "secrets: [NOT_SET_ANYWHERE]\n", "secrets[0]: NOT_SET_ANYWHERE is not set in your shell"),
    ],
)
def test_a_wrong_file_is_refused_with_code_2_and_a_hint(
    root: Path, tmp_path: Path, text: str | None, expected: str
) -> None:
    file = tmp_path / "c.yaml"
    if text is not None:
        file.write_text(text)
    done = run(root, "up", "--dry-run", "--offline", "--nodes", str(file))
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_option_is_a_usage_error(root: Path) -> None:
    done = run(root, "up", "--nods", "x")
    assert done.returncode == 2
    assert "--nodes" in done.stderr


def test_the_offline_plan_is_marked_as_assumed_and_contacts_nobody(root: Path) -> None:
    done = run(root, "up", "--dry-run", "--offline", "--json", "--nodes", "cluster.yaml")
    assert done.returncode == 0, done.stderr
    assert "assumed, not seen" in done.stderr
    plan = json.loads(done.stdout)
    assert [step["step"] for step in plan["steps"]] == ["pull", "self-test", "prepare", "start"]
    assert sorted(plan["steps"][-1]["ranks"]) == ["0", "1", "2", "3"]


def test_a_secret_s_value_is_in_no_plan(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(GOOD + "secrets: [HF_TOKEN]\n")
    for words in ((), ("--json",)):
        done = run(root, "up", "-n", "--offline", *words, "--nodes", str(file), HF_TOKEN="marker-5f1e")
        assert done.returncode == 0, done.stderr
        assert "marker-5f1e" not in done.stdout + done.stderr


def test_the_committed_dockerfile_is_what_the_example_renders_to(root: Path) -> None:
    done = run(root, "render", "--check")
    assert done.returncode == 0, done.stderr


def test_a_dockerfile_that_is_not_true_is_refused(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text((root / "Dockerfile").read_text() + "RUN true\n")
    done = run(root, "render", "--check", "--output", str(file))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
