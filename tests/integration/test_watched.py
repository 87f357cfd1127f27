"""A watch lets others see it on its nodes, as long as it lives: the real script, with no container to tell of."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from deploy.command import Command
from deploy.remote import look, pulse

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and a `docker` that knows no container."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    return {**os.environ, "HOME": str(tmp_path), "PATH": f"{docker.parent}:{os.environ['PATH']}"}


def watcher(environment: dict[str, str]) -> str:
    command: Command = look.command("sparks")
    done = subprocess.run(command.argv, env=environment, capture_output=True, text=True, check=False)
    return look.read(0, done.stdout).watcher


def test_a_watch_is_seen_until_it_ends_and_a_pulse_of_another_is_none(environment: dict[str, str]) -> None:
    assert watcher(environment) == ""
    for who, seen in (("", ""), ("`watch run` of ada's, since 9", "`watch run` of ada's, since 9")):
        argv = pulse.command("sparks", who).argv
        with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as going:
            assert going.stdout
            assert going.stdout.readline()
            assert watcher(environment) == seen
            assert going.stdin
            going.stdin.close()
            going.wait()
    end = time.monotonic() + 5
    while watcher(environment) and time.monotonic() < end:
        time.sleep(0.1)
    assert watcher(environment) == ""
