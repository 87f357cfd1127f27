"""Happenings travel in handfuls: all of them, in their order, and none waits for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from deploy.tune.gather import GATHER, gathered
from deploy.tune.happening import Began, Finished, Happening


def test_all_arrive_in_their_order_and_many_together() -> None:
    made = [Began("a", tokens) for tokens in range(1, 500)]
    handfuls = list(gathered(iter(made)))
    assert [one for some in handfuls for one in some] == made
    assert len(handfuls) < 10


def test_what_was_made_does_not_wait_for_what_takes_long() -> None:
    going_on = threading.Event()

    def slow() -> Iterator[Happening]:
        yield Began("a", 1)
        going_on.wait(20)
        yield Finished("a", 1)

    came = gathered(slow())
    began = time.monotonic()
    assert next(came) == [Began("a", 1)]
    assert time.monotonic() - began < 10 * GATHER + 2
    going_on.set()
    assert list(came) == [[Finished("a", 1)]]


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def failing() -> Iterator[Happening]:
        yield Began("a", 1)
        raise RuntimeError("the GPU is gone")

    came = gathered(failing())
    assert next(came) == [Began("a", 1)]
    with pytest.raises(RuntimeError, match="the GPU is gone"):
        next(came)
