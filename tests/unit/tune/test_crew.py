"""Who is given what: hands are stand-ins here, and Ray is only imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune.happening import Began, Finished, Happening
from deploy.tune.problem import Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.task import Task

SIZES = (512, 64, 16)
TASK = Task(Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10), SIZES, Ceilings(2.7e11, 1e14))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, with a stand-in for Ray where that is not installed."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delitem(sys.modules, "deploy.tune.crew", raising=False)
    import deploy.tune.crew as made

    yield made
    monkeypatch.delitem(sys.modules, "deploy.tune.crew")


@pytest.mark.parametrize("hands", [1, 2, 3, 8])
def test_each_batch_size_goes_to_one_gpu_however_many_are_idle(
    room: Any, monkeypatch: pytest.MonkeyPatch, hands: int
) -> None:
    crew = room.Crew(TASK, room.Kind(Path("kernels.py"), 121), {})
    crew._hands = [room._Hand(str(number), f"spark-{number}", None) for number in range(hands)]
    given: list[int] = []

    def begin(hand: Any, tokens: int) -> None:
        hand.tokens, hand.stream = tokens, object()
        given.append(tokens)

    def heard() -> Iterator[Happening]:
        for hand in crew._hands:
            if hand.stream is not None:
                hand.stream = None
                yield from (Began(hand.node, hand.tokens), Finished(hand.node, hand.tokens))

    for name, made in (("_look", lambda: None), ("_begin", begin), ("_heard", heard)):
        monkeypatch.setattr(crew, name, made)
    finished = [one.tokens for one in crew.measured(SIZES) if isinstance(one, Finished)]
    assert tuple(given) == SIZES
    assert sorted(finished) == sorted(SIZES)
