"""The lock of one node as its holder sees it, with a stand-in for the fleet and a clock that the test sets."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.command import Command, Result
from deploy.remote import held
from deploy.remote.held import HeldLock

COMMAND = Command(("sh",))


class Fleet:
    """A stand-in: keeps the ends of the one command, and ends it when it is told to."""

    def __init__(self) -> None:
        self.sessions = [SimpleNamespace(opened=0.0)]
        self.future: Future[Result] = Future()
        self.sessions = [SimpleNamespace(opened=0.0)]

    def call(self, work: partial[Result]) -> Future[Result]:
        self.ends = work.args[2]
        return self.future

    def run(self) -> None: ...

    def say(self, *lines: str) -> None:
        for line in lines:
            self.ends.on_line(line)

    def over(self, code: int | None, text: str) -> None:
        self.future.set_result(Result(COMMAND, code, text))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(held, "_now", lambda: now[0])
    return now


def lock(*, runs: bool = False) -> tuple[Fleet, HeldLock]:
    fleet = Fleet()
    other: Any = fleet
    return fleet, HeldLock(other, 0, COMMAND, runs=runs)


def test_who_holds_it_and_for_how_long_is_told(clock: list[float]) -> None:
    fleet, one = lock()
    fleet.say("by `up` of ana on mars, process 7, since noon", "age 725")
    fleet.over(75, "by `up` of ana on mars, process 7, since noon\nage 725\n")
    assert one.problem() == "locked by `up` of ana on mars, process 7, since noon, 12 min ago"


def test_a_lock_is_ours_for_as_long_as_the_node_confirms_it(clock: list[float]) -> None:
    fleet, one = lock()
    fleet.say("locked")
    assert (one.problem(), one.lost()) == ("", "")
    for _ in range(10):
        letter = fleet.ends.feed()
        clock[0] += 5
        fleet.say(f"beat {letter}")
        assert one.lost() == ""


def test_a_byte_every_few_seconds_is_enough(clock: list[float]) -> None:
    fleet, _ = lock()
    assert fleet.ends.feed()
    clock[0] += held.BEAT_EVERY - 0.1
    assert not fleet.ends.feed()
    clock[0] += 0.2
    assert fleet.ends.feed()


def test_without_an_answer_it_is_lost_before_the_node_lets_go(clock: list[float]) -> None:
    fleet, one = lock()
    fleet.say("locked")
    first = fleet.ends.feed()
    clock[0] += 10
    fleet.ends.feed()
    fleet.say(f"beat {first}")
    clock[0] += held.PATIENCE - 10 - 1
    assert "has not confirmed it for 19 s" in one.lost()


def test_while_the_command_behind_the_lock_runs_nothing_is_said_back(clock: list[float]) -> None:
    fleet, one = lock(runs=True)
    fleet.say("locked", "architecture arm64")
    clock[0] += 50
    assert one.lost() == ""
    fleet.say("command ended with 0")
    assert one.result(COMMAND).stdout == "architecture arm64"
    assert one.lost() == ""


def test_a_shell_that_ended_has_let_go(clock: list[float]) -> None:
    fleet, one = lock()
    fleet.say("locked")
    fleet.over(None, "the connection broke")
    assert one.lost() == "the lock is lost: the connection broke"
