"""A process whose input ends or falls silent knows that its controller is gone."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator

import pytest

from deploy.inside.lifeline import Lifeline


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for handle in (read, write):
        try:
            os.close(handle)
        except OSError:
            continue


def held(read: int, patience: float) -> queue.SimpleQueue[str]:
    over: queue.SimpleQueue[str] = queue.SimpleQueue()
    Lifeline(read, patience).hold(over.put)
    return over


def test_the_first_line_is_read_whole_however_it_comes(pipe: tuple[int, int]) -> None:
    read, write = pipe
    for piece in (b'{"a"', b": 1}", b"\n", b"\n"):
        os.write(write, piece)
    assert Lifeline(read).line() == '{"a": 1}'


def test_an_input_that_ends_before_its_first_line_is_an_end(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.write(write, b"half")
    os.close(write)
    with pytest.raises(EOFError):
        Lifeline(read).line()


def test_the_end_of_the_input_is_told(pipe: tuple[int, int]) -> None:
    read, write = pipe
    over = held(read, 20)
    os.close(write)
    assert over.get(timeout=5) == "the controller is gone"


def test_silence_is_told_and_a_byte_now_and_then_is_none(pipe: tuple[int, int]) -> None:
    read, write = pipe
    over = held(read, 0.5)
    for _ in range(4):
        os.write(write, b"\n")
        with pytest.raises(queue.Empty):
            over.get(timeout=0.2)
    assert over.get(timeout=5) == "the controller was silent for 0.5 s"
