"""The stand-in's requests: what is told of them, and how they stand still or turn to garbage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.lab.standin.generation import Pace, Scheduler


class Ranks:
    """Steps that all ranks take, until one of them is stuck."""

    def __init__(self) -> None:
        self.free, self.stepping = threading.Event(), threading.Event()
        self.free.set()
        self.said: list[str] = []
        self.scheduler = Scheduler(self.step, Pace(2000, 4, 2), self.said.append)

    def step(self) -> None:
        self.stepping.set()
        self.free.wait()


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.free.set()


def until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_requests_that_run_and_wait_and_their_tokens_are_told(ranks: Ranks) -> None:
    ranks.free.clear()
    for _ in range(3):
        ranks.scheduler.submit(["a"] * 9, prompt=10)
    assert until(lambda: ranks.scheduler.waiting == 1)
    assert (ranks.scheduler.remaining, ranks.scheduler.waiting, ranks.scheduler.held) == (3, 1, 20)


def test_tokens_are_given_back_at_the_end(ranks: Ranks) -> None:
    assert "".join(ranks.scheduler.submit(["a", "b"] * 200, prompt=7)) == "ab" * 200
    ranks.scheduler.settle()
    assert (ranks.scheduler.remaining, ranks.scheduler.held) == (0, 0)
    assert ranks.said[0].startswith("Prefill batch, #new-seq: 1, #new-token: 7,")
    assert "Decode batch, #running-req: 1, #token: " in ranks.said[1]


def test_a_request_that_comes_during_a_check_is_held_and_told_of(ranks: Ranks) -> None:
    ranks.scheduler.wedged = True
    ranks.free.clear()
    first = ranks.scheduler.submit(["!"], check=True)
    assert ranks.stepping.wait(5)
    second = ranks.scheduler.submit(["!"], check=True)
    ranks.scheduler.submit(["a"], prompt=7)
    ranks.free.set()
    assert [list(first), list(second)] == [["!"], ["!"]]
    told = threading.Thread(target=ranks.scheduler.settle, daemon=True)
    told.start()
    told.join(5)
    assert not told.is_alive()
    assert (ranks.scheduler.remaining, ranks.scheduler.held) == (1, 7)


def test_a_wedge_holds_requests_and_lets_health_checks_pass_and_can_end(ranks: Ranks) -> None:
    ranks.scheduler.wedged = True
    work = ranks.scheduler.submit(["a"] * 9)
    later = ranks.scheduler.submit(["b"] * 9)
    assert until(lambda: ranks.scheduler.waiting == 1)
    assert len(ranks.said) == 1
    assert list(ranks.scheduler.submit(["!"], check=True)) == ["!"]
    assert work.chunks.empty()
    ranks.scheduler.wedged = False
    assert "".join(work) == "a" * 9
    assert "".join(later) == "b" * 9


def test_garbage_is_of_the_same_length(ranks: Ranks) -> None:
    ranks.scheduler.garbled = True
    assert "".join(ranks.scheduler.submit(["abc", "de"])) == "!!!!!"


def test_nothing_is_told_while_the_ranks_are_stuck(ranks: Ranks) -> None:
    ranks.free.clear()
    told = threading.Thread(target=ranks.scheduler.settle, daemon=True)
    told.start()
    told.join(0.2)
    assert told.is_alive()
    ranks.free.set()
    told.join(5)
    assert not told.is_alive()


def spoken(scheduler: Scheduler, tokens: int) -> list[tuple[float, str]]:
    """Chunks of an answer with the seconds since it was asked for."""
    work = scheduler.submit(["a"] * tokens)
    return [(time.monotonic() - work.arrived, chunk) for chunk in work]


def test_a_fixed_pace_is_kept_by_an_absolute_clock() -> None:
    scheduler = Scheduler(lambda: time.sleep(0.0035), Pace(1000, 1, 4, fixed=4, first=0.05), lambda _: None)
    said = spoken(scheduler, 402)
    assert [len(chunk) for _, chunk in said] == [4] * 100 + [2]
    assert said[0][0] >= 0.05
    # A step takes 3.5 ms and a pause 4 ms: were they added up, it would take 0.8 s.
    assert 0.45 <= said[-1][0] < 0.7


def test_a_request_that_comes_while_others_run_waits_for_its_own_first_chunk() -> None:
    scheduler = Scheduler(lambda: None, Pace(1000, 1, 4, fixed=1, first=0.1), lambda _: None)
    first = scheduler.submit(["a"] * 500)
    assert next(iter(first)) == "a"
    assert 0.1 <= spoken(scheduler, 1)[0][0] < 0.2
    assert list(scheduler.submit(["!"], check=True)) == ["!"]
