"""Connections that break and controllers that freeze, on real sshd: what is noticed, what is undone, who may act."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.plain_hosts import Host, Hosts
from tests.integration.holder import QUIET
from tests.integration.lab import read_until
from tests.integration.light import ROOT, run, start
from tests.integration.test_bad_nodes import wait_for

pytestmark = pytest.mark.integration
HOLDER = (sys.executable, "-m", "tests.integration.holder")


def sessions(hosts: Hosts, host: Host) -> list[int]:
    """The processes of sshd that serve an open connection to a host."""
    argv = (*hosts.inside, "ss", "-tnpH", "state", "established", "src", f"{host.address}:22")
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return sorted({int(one) for one in re.findall(r'"sshd[^"]*",pid=(\d+)', said)})


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Other:
    """Another controller."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid, self._process = process.pid, process

    def tell(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def ask(self, word: str) -> str:
        self.tell(word)
        return self.answer()


@contextmanager
def holder(hosts: Hosts, seconds: str) -> Iterator[Other]:
    argv = (*hosts.inside, *HOLDER, str(hosts.cluster_yaml(1)), seconds)
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Other(process)
    finally:
        process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):
            process.communicate(timeout=20)


def test_a_node_that_freezes_during_a_launch_is_noticed_in_seconds_and_the_others_are_undone(light: Hosts) -> None:
    process = start(light, "up", "--nodes", str(light.cluster_yaml(4)))
    wait_for(lambda: all(any(c.startswith("logs") for c in host.calls()) for host in light.hosts), process)
    with frozen(sessions(light, light.hosts[1])):
        began = time.monotonic()
        wait_for(lambda: not any((light.hosts[rank].state / "started").exists() for rank in (0, 2, 3)), process)
        assert time.monotonic() - began < 15
        _, err = process.communicate(timeout=40)
    # A frozen session is not a frozen node: it is logged in to anew, and its rank is ended too.
    assert process.returncode == 5
    assert "rank 1 is lost: the node has not answered for 8 s" in err
    assert not (light.hosts[1].state / "started").exists()


def test_a_connection_that_breaks_during_the_wait_is_opened_anew_and_the_launch_goes_on(light: Hosts) -> None:
    process = start(light, "up", "--nodes", str(light.cluster_yaml(2)))
    wait_for(lambda: all(any(c.startswith("logs") for c in host.calls()) for host in light.hosts[:2]), process)
    for pid in sessions(light, light.hosts[1]):
        os.kill(pid, signal.SIGKILL)
    said = read_until(process, "logged in anew")
    assert "the connection broke: the other side closed it; logged in anew" in said
    wait_for(lambda: sum(c.startswith("logs") for c in light.hosts[1].calls()) == 2, process)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    # The lock is this run's again, so that it may also undo.
    assert process.returncode == 130, said + err
    assert not any((host.state / "started").exists() for host in light.hosts[:2]), said + err
    assert "may still run" not in err


def test_what_a_cut_connection_had_begun_is_undone_over_a_new_one(light: Hosts) -> None:
    slow = light.hosts[1]
    (slow.state / "slow-run").touch()
    process = start(light, "up", "--nodes", str(light.cluster_yaml(4)))
    wait_for(lambda: any(call.startswith("run --detach") for call in slow.calls()), process)
    for pid in sessions(light, slow):
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (4, 5), err
    assert "the connection broke" in err
    assert "may still run" not in err
    # `docker run` went on without its connection: it was waited for before the rank was ended.
    ends = [call.split()[0] for call in slow.calls() if call.startswith(("run --detach", "rm", "kill"))]
    assert ends[0] == "run"
    assert ends[-1] in ("rm", "kill")
    assert not any((host.state / "started").exists() for host in light.hosts)


def test_a_controller_that_freezes_loses_its_lock_and_can_do_nothing_more(light: Hosts) -> None:
    with holder(light, "0.1") as first:
        assert first.answer() == "held"
        with holder(light, "0.2") as early:
            assert re.match(r"refused .*locked by `test` 0.1, \d+ s ago.*frees itself", early.answer())
        with frozen([first.pid]):
            time.sleep(QUIET + 0.5)
            with holder(light, "0.3") as second:  # it waits for the rest of the node's patience
                assert second.answer() == "held"
                assert second.ask("go second") == "went [0]"
                os.kill(first.pid, signal.SIGCONT)
                assert first.ask("go first") == "went [75]"
                assert first.ask("lost") == "lost [0]"
                assert second.ask("lost") == "lost []"
        # Still, when nobody else holds it any more: what is there now may be another run's.
        assert first.ask("go first") == "went [75]"
    home = light.hosts[0].state
    assert (home / "done").read_text() == "second\n"
    assert not (home / "two").exists()


def test_the_next_holder_waits_for_what_the_last_one_began(light: Hosts) -> None:
    with holder(light, "4") as first:
        assert first.answer() == "held"
        first.tell("go first")
        while not (light.hosts[0].state / "busy").exists():
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
        with holder(light, "0.1") as second:
            assert second.answer() == "held"
            assert second.ask("go second") == "went [0]"
    assert not (light.hosts[0].state / "two").exists()
    assert (light.hosts[0].state / "done").read_text() == "first\nsecond\n"


def test_nothing_is_left_of_connections_after_many_launches(light: Hosts) -> None:
    for _ in range(2):
        done = run(light, "up", "--timeout", "1", "--nodes", str(light.cluster_yaml(4)))
        assert done.returncode == 5, done.stderr
    deadline = time.monotonic() + 5
    while any(sessions(light, host) for host in light.hosts) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [sessions(light, host) for host in light.hosts] == [[]] * 4
