"""The stand-in for docker of a GPU host starts, tells of and ends processes as Docker does those of a container."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpu.nodes import IMAGE, Node, end_ranks
from tests.gpu.strike import alive

ROOT = Path(__file__).resolve().parents[2]
# A rank with a child in a session of its own; it says what it was told, and leaves when asked.
SERVER = """
import signal, subprocess, sys, time
subprocess.Popen(["sleep", "1000"], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print(sys.argv[1:], flush=True)
while True:
    time.sleep(0.05)
"""
RUN = (
    *("run", "--detach", "--init", "--name", "r2", "--label", "io.sglang-spark.cluster=c"),
    *("--label", "io.sglang-spark.rank=2", "--env", "MINE=1", "image", "python3", "-m", "sglang.launch_server"),
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    server = tmp_path / "site" / "sglang"
    server.mkdir(parents=True)
    (server / "launch_server.py").write_text(SERVER)
    told = {"image": IMAGE, "address": "127.0.1.3", "python": sys.executable, "site": str(tmp_path / "site")}
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "host.json").write_text(json.dumps({**told, "model": "/model", "env": dict(os.environ)}))
    one = Node(2, "127.0.1.3", folder)
    yield one
    end_ranks(one)


def docker(node: Node, *words: str) -> str:
    """A call that must succeed; its stdout."""
    command = (sys.executable, "-IS", str(ROOT / "tests/gpu/standin_docker.py"), *words)
    environment = {**os.environ, "STANDIN_STATE": str(node.folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def started(node: Node) -> tuple[str, list[int]]:
    """A rank that has said what it was told: its id and processes."""
    identity = docker(node, *RUN)
    end = time.monotonic() + 10
    while "127.0.1.3" not in docker(node, "logs", identity):
        assert time.monotonic() < end
    assert node.container
    return identity, node.container.processes()


def test_a_rank_is_listed_inspected_and_killed_with_all_its_processes(node: Node) -> None:
    identity, processes = started(node)
    assert docker(node, "ps", "--all", "--quiet", "--filter", "label=io.sglang-spark.cluster=c") == identity
    assert len(processes) == 2
    assert docker(node, "kill", "r2") == "r2"
    assert "'--port', '30000'" in docker(node, "logs", "--follow", "--tail", "5", "r2")
    state = json.loads(docker(node, "inspect", "--format", "{{json .State}}", "r2"))
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 137, False)
    assert not any(alive(process) for process in processes)
    assert docker(node, "ps", "--quiet") == ""
    assert docker(node, "rm", "--force", "--volumes", "r2", "never-was") == "r2"
    assert docker(node, "ps", "--all", "--quiet") == ""


def test_a_frozen_rank_can_be_stopped_and_a_willing_one_leaves_with_its_own_code(node: Node) -> None:
    started(node)
    docker(node, "stop", "--time", "5", "r2")
    assert json.loads(docker(node, "inspect", "--format", "{{json .State.ExitCode}}", "r2")) == 3
    docker(node, "rm", "r2")
    started(node)
    assert node.container
    node.container.signal(signal.SIGSTOP)
    docker(node, "stop", "--time", "0", "r2")
    assert json.loads(docker(node, "inspect", "--format", "{{json .State.ExitCode}}", "r2")) == 137


def test_a_rank_holds_no_lock_of_whoever_started_it(node: Node) -> None:
    with (node.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = (sys.executable, "-IS", str(ROOT / "tests/gpu/standin_docker.py"), *RUN)
        environment = {**os.environ, "STANDIN_STATE": str(node.folder)}
        subprocess.run(command, env=environment, check=True, pass_fds=[lock.fileno()], capture_output=True)
    with (node.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
