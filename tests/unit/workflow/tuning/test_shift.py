"""A crew goes on without who is lost, is begun again where that makes sense, and gives up where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.command import Command, Result
from deploy.errors import LockedError, RemoteError, TuneError
from deploy.event import Note
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune.happening import Finished, Lost, Measured, line
from deploy.tune.problem import Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.task import Task
from deploy.tune.trial import Timing, Trial
from deploy.workflow.tuning import shift
from deploy.workflow.tuning.shift import Shift

HOSTS = ("spark-0", "spark-1", "spark-2")
TASK = Task(Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10), (16, 1), Ceilings(2.7e11, 1e14))


def made(tokens: int, number: int, node: str = "spark-0") -> Measured:
    return Measured(node, Trial(tokens, "up", Config(16, 32, 64, 1, 4, 2), "sift", number), Timing((1.0,)))


@dataclass
class Begun:
    """One command that was started on a node; the test says what it says and how it ends."""

    rank: int
    role: str
    job: dict[str, Any]
    hear: Callable[[str], None]
    over: Callable[[Result], None]
    stopped: bool = False

    def says(self, *happenings: Any) -> None:
        for one in happenings:
            self.hear(line(one))

    def ends(self, code: int | None, words: str = "") -> None:
        if words:
            self.hear(json.dumps({"error": words, "hint": ""}))
        self.over(Result(Command(("docker",)), code))


@dataclass
class World:
    """In place of nodes: what is begun there, who is reached, whose lock is lost."""

    script: Callable[[Begun], None]
    begun: list[Begun] = field(default_factory=list)
    sessions: list[Any] = field(default_factory=lambda: [SimpleNamespace(alive=True) for _ in HOSTS])
    locks_lost: dict[int, str] = field(default_factory=dict)
    back: bool = False
    stopping: bool = False
    nodes: Any = tuple(SimpleNamespace(host=host) for host in HOSTS)

    def error(self, problems: dict[int, str], hint: str, kind: type[RemoteError]) -> RemoteError:
        return kind("; ".join(f"{HOSTS[rank]}: {why}" for rank, why in problems.items()), hint)

    def call(self, work: Callable[[], None]) -> None:
        if self.back:
            work()

    def revive(self, ranks: list[int], _: float) -> dict[int, RemoteError]:
        for rank in ranks:
            self.sessions[rank].alive = True
        return {}

    def retake(self, _: list[int]) -> dict[int, str]:
        return {}

    def lost(self) -> dict[int, str]:
        return self.locks_lost

    # As plan.Launch.
    def head(self, rank: int, gpus: int, arch: int, job: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "head", {**job, "rank": rank, "gpus": gpus, "arch": arch}

    def join(self, rank: int, gpus: int, head: int) -> tuple[str, dict[str, Any]]:
        return "join", {"rank": rank, "gpus": gpus, "head": head}

    def fed(self, _: Any, rank: int, command: tuple[str, dict[str, Any]], hear: Any, over: Any) -> Any:
        one = Begun(rank, *command, hear, over)
        self.begun.append(one)
        self.script(one)
        return SimpleNamespace(stop=lambda: setattr(one, "stopped", True), wait=lambda _: True)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[World, Iterator[Any]]]:
    def play(script: Callable[[World, Begun], None]) -> tuple[World, Iterator[Any]]:
        world = World(lambda one: script(world, one))
        monkeypatch.setattr(shift, "Fed", world.fed)
        one = Shift(world, world, world, dict.fromkeys(range(3), 1), 121)  # type: ignore[arg-type]
        return world, one.measured(TASK, TASK.sizes, {made(16, 9).trial: Timing((2.0,))})

    return play


Played = Callable[..., tuple[World, Iterator[Any]]]


def finish(one: Begun) -> None:
    one.says(*(Finished(HOSTS[one.rank], tokens) for tokens in one.job["sizes"]))
    one.ends(0)


def test_the_first_node_leads_and_all_that_ran_is_let_go_at_the_end(played: Played) -> None:
    world, said = played(lambda _, one: finish(one) if one.role == "head" else None)
    assert list(said) == [Finished("spark-0", 16), Finished("spark-0", 1)]
    assert [(one.rank, one.role) for one in world.begun] == [(0, "head"), (1, "join"), (2, "join")]
    assert all(one.stopped for one in world.begun)
    assert [one["trial"]["round"] for one in world.begun[0].job["known"]] == [9]


def test_a_head_that_says_nothing_any_more_is_let_go_and_begun_again(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift, "SILENCE", 0.3)
    monkeypatch.setattr(shift, "LISTEN", 0.05)

    def script(world: World, one: Begun) -> None:
        if one.role == "head" and len(world.begun) > 1:
            finish(one)

    world, said = played(script)
    told = list(said)
    first, *_ = world.begun
    assert first.stopped
    assert any(isinstance(one, Note) and "ended: not a word in 0 s; beginning again" in one.text for one in told)
    assert told[-1] == Finished("spark-0", 1)


def test_a_crew_whose_head_is_lost_begins_again_with_what_is_known(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        if one.role == "head" and len(world.begun) == 1:
            one.says(made(16, 1), Finished("spark-0", 16), made(1, 2))
            one.ends(137)
        elif one.role == "head":
            finish(one)

    world, said = played(script)
    told = list(said)
    second = next(one for one in world.begun[1:] if one.role == "head")
    assert second.job["sizes"] == [1]
    assert [one["trial"]["round"] for one in second.job["known"]] == [2]
    assert any(isinstance(one, Note) and "exit code 137" in one.text for one in told)
    assert [one.tokens for one in told if isinstance(one, Finished)] == [16, 1]


def test_a_head_that_ends_again_and_again_is_an_error_with_its_last_words(played: Played) -> None:
    world, said = played(lambda _, one: one.ends(1, "the port is taken") if one.role == "head" else None)
    with pytest.raises(TuneError, match="the port is taken"):
        list(said)
    assert sum(one.role == "head" for one in world.begun) == 4
    assert all(one.stopped for one in world.begun)


def test_a_join_that_ends_joins_again_but_not_for_ever(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        if one.rank == 1:
            one.ends(137)
        if sum(other.rank == 1 for other in world.begun) == 4:
            finish(world.begun[0])

    world, said = played(script)
    told = list(said)
    assert sum(one.rank == 1 for one in world.begun) == 4
    assert any(isinstance(one, Lost) and one.node == "spark-1" for one in told)


def test_a_measurement_in_between_lets_it_join_anew(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        if one.rank != 1:
            return
        count = sum(other.rank == 1 for other in world.begun)
        world.begun[0].says(made(1, count, "spark-1"))
        if count < 8:
            one.ends(137)
        else:
            finish(world.begun[0])

    world, said = played(script)
    assert not [one for one in said if isinstance(one, Lost)]
    assert sum(one.rank == 1 for one in world.begun) == 8


def test_a_head_that_cannot_be_reached_is_lost_and_the_next_node_leads(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        if (one.rank, one.role) == (0, "head"):
            world.sessions[0].alive = False
            one.ends(None)
        elif one.role == "head":
            finish(one)

    world, said = played(script)
    assert [one.node for one in said if isinstance(one, Lost)] == ["spark-0"]
    assert [one.rank for one in world.begun if one.role == "head"] == [0, 1]
    assert 0 not in [one.rank for one in world.begun[3:]]


def test_a_node_that_is_reached_again_joins(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        world.back = True
        if one.rank == 2 and sum(other.rank == 2 for other in world.begun) == 1:
            world.sessions[2].alive = False
            one.ends(None)
        elif one.rank == 2:
            finish(world.begun[0])

    world, said = played(script)
    told = list(said)
    assert [one.node for one in told if isinstance(one, Lost)] == ["spark-2"]
    assert sum(one.rank == 2 for one in world.begun) == 2


def test_where_no_node_is_left_that_is_an_error(played: Played) -> None:
    def script(world: World, one: Begun) -> None:
        world.sessions[one.rank].alive = False
        one.ends(None)

    _, said = played(script)
    with pytest.raises(TuneError, match="no node can be reached"):
        list(said)


def test_a_lock_that_is_lost_ends_it_and_one_of_a_node_that_is_away_does_not(played: Played) -> None:
    world, said = played(lambda world, one: world.locks_lost.update({1: "it was let go"}))
    with pytest.raises(LockedError, match="spark-1: it was let go"):
        list(said)
    assert all(one.stopped for one in world.begun)

    def away(world: World, one: Begun) -> None:
        world.sessions[1].alive = False
        world.locks_lost[1] = "it was let go"
        if one.role == "join" and one.rank == 2:
            finish(world.begun[0])

    _, said = played(away)
    assert [one.tokens for one in said if isinstance(one, Finished)] == [16, 1]


def test_an_interruption_lets_go_of_everything(played: Played) -> None:
    world, said = played(lambda _, one: one.says(made(16, 1)) if one.role == "head" else None)
    next(said)
    said.close()  # type: ignore[attr-defined]
    assert len(world.begun) == 3
    assert all(one.stopped for one in world.begun)
