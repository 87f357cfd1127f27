"""Suites of several launches on a stage that is played: what becomes a case, what a result, and what is asked of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.bench import speculation
from deploy.bench import suite as suites
from deploy.bench.client import Failure, Raw, Target
from deploy.bench.facts import Facts
from deploy.bench.results import Case, Server
from deploy.bench.speculation import accept_rate
from deploy.bench.stage import Aside, Fallen, Launched, Side
from deploy.bench.suite import Setting, Wish
from deploy.bench.suites import eagle, tables
from deploy.cluster.load import load
from deploy.command import Command, Result
from deploy.errors import BenchError, RemoteError
from deploy.event import Event, Note
from deploy.launch.sglang import server_flags
from deploy.tune.comparison import Compared
from deploy.tune.comparison import Side as Measured
from deploy.workflow.kernel_suite import case
from deploy.workflow.stage import NO_TABLES, Stage, as_it_was, changed
from tests.unit.bench.answers import steady

ROOT = Path(__file__).resolve().parents[3]
CRASH = Fallen("out-of-shared-memory", 2, "rank 2: OutOfResources")
ON = {"speculative_algorithm": "EAGLE", "speculative_num_steps": 3}


@dataclass
class Played:
    """A stage whose servers answer, fall at their launch, or fall when they are asked."""

    falls: set[Side] = field(default_factory=set)
    dies: set[Side] = field(default_factory=set)
    asked: list[Side] = field(default_factory=list)
    refuses: bool = False
    now: Side = field(default_factory=lambda: Side(speculation=True))

    def check(self) -> None:
        if self.refuses:
            raise BenchError("the lab is watched", "stop that watch")

    def launch(self, side: Side) -> Generator[Event, None, Launched | Fallen]:
        self.asked.append(side)
        self.now = side
        yield Aside("launching")
        return CRASH if side in self.falls else Launched(9.0, ("mine" if side.tables else "default",))

    def fallen(self) -> Generator[Event, None, Fallen | None]:
        yield Aside("looking")
        return CRASH if self.now in self.dies else None

    def facts(self) -> Facts:
        return Facts(Server("u", "m", "sglang", flags=ON if self.now.speculation else {}), flushes=True)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    stage = Played()

    def request(*_: Any) -> Raw:
        return Raw(failure=Failure("cut", "gone")) if stage.now in stage.dies else steady(40, 4, 0.1, 100)

    monkeypatch.setattr(suites, "request", request)
    monkeypatch.setattr(speculation, "flush", lambda _: True)
    monkeypatch.setattr(speculation, "accept_length", lambda _: 2.5)
    for one in (eagle, tables):
        monkeypatch.setattr(one, "learn", lambda *_: stage.facts())
    return stage


def run(suite: Any, stage: Played, *, staged: bool = True) -> list[Event | Case]:
    wish = Wish(2, 1, 128)
    return list(suite.run(Setting(Target("http://h:1"), stage.facts(), wish, stage=stage if staged else None)))


def cases(found: list[Event | Case]) -> dict[str, Case]:
    return {one.name: one for one in found if isinstance(one, Case)}


def test_a_side_is_not_launched_while_a_watch_would_bring_back_what_is_taken_down(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "watcher `up --watch` of ada on desk\nmemory_available 9\nclock 1.0\npulse\n"
    looks = {rank: Result(Command(("true",)), 0, said if rank == 2 else "clock 1.0\npulse\n") for rank in range(4)}
    monkeypatch.setattr(Stage, "_looks", lambda _: looks)
    stage = Stage(load(str(root / "tests/golden/four-sparks/cluster.yaml")), {}, "a test")
    with pytest.raises(BenchError, match=r"is watched by `up --watch` of ada on desk"):
        next(stage.launch(Side(speculation=False)))
    assert not stage.changed


def test_eagle_measures_both_sides_and_tells_acceptance_only_where_it_speculates(played: Played) -> None:
    found = cases(run(eagle, played))
    assert played.asked == [Side(speculation=False)]
    assert len(found) == 6
    assert found["code, speculation on"].figures["accept_length"].median == 2.5
    assert found["code, speculation on"].figures["accept_rate"].median == 0.5
    assert "accept_length" not in found["code, speculation off"].figures


@pytest.mark.parametrize("suite", [eagle, tables])
def test_nothing_is_measured_where_no_side_can_be_launched(suite: Any, played: Played) -> None:
    played.refuses = True
    going = suite.run(Setting(Target("http://h:1"), played.facts(), Wish(2, 1, 128), stage=played))
    with pytest.raises(BenchError, match="watched"):
        next(going)


def test_eagle_without_a_stage_measures_one_side_and_says_what_the_other_takes(played: Played) -> None:
    found = run(eagle, played, staged=False)
    assert len(cases(found)) == 3
    assert any(isinstance(one, Note) and "--nodes" in one.text for one in found)


def test_the_accept_rate_is_a_share_of_the_steps_that_were_drafted() -> None:
    assert accept_rate(4.0, Facts(Server("u", flags=ON))) == 1.0
    assert accept_rate(1.0, Facts(Server("u", flags=ON))) == 0.0
    assert accept_rate(2.0, Facts(Server("u"))) is None


def test_a_crash_at_launch_is_a_result_and_the_other_sides_are_measured(played: Played) -> None:
    played.falls = {tables.SIDES[2][1]}
    found = cases(run(tables, played))
    crash = found["C: launch"]
    assert [(one.kind, one.error) for one in crash.repeats] == [("out-of-shared-memory", "rank 2: OutOfResources")]
    assert crash.figures["served"].median == 0
    assert not crash.failed
    assert found["A: launch"].figures["launch_s"].median == 9.0
    assert {"as it runs: long prompt", "A: short prompt", "B: long prompt"} <= set(found)
    assert "C: short prompt" not in found


def test_a_crash_while_it_is_asked_is_a_result_too_and_ends_that_side(played: Played) -> None:
    played.dies = {tables.SIDES[1][1]}
    found = cases(run(tables, played))
    assert found["B: short prompt"].repeats[-1].kind == "out-of-shared-memory"
    assert not found["B: short prompt"].failed
    assert "B: long prompt" not in found
    assert found["C: short prompt"].figures["decode_tok_s"].n == 2


def test_failures_of_a_server_that_lives_stay_failures(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "request", lambda *_: Raw(failure=Failure("stalled", "no byte")))
    found = cases(run(tables, played))
    assert [one.kind for one in found["B: short prompt"].failed] == ["stalled", "stalled"]
    assert not any(one.fell for one in found["B: short prompt"].repeats)


def test_sides_that_use_the_same_tables_are_told_of(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(_: Side) -> Generator[Event, None, Launched]:
        yield Aside("launching")
        return Launched(9.0, ("default",))

    monkeypatch.setattr(played, "launch", launch)
    assert any(isinstance(one, Note) and "B uses what A does: default" in one.text for one in run(tables, played))


def test_tables_needs_a_stage(played: Played) -> None:
    with pytest.raises(BenchError, match="--url"):
        run(tables, played, staged=False)


@pytest.mark.parametrize("speculation_", [True, False])
@pytest.mark.parametrize("tables_", [True, False])
def test_a_side_changes_speculation_and_tables_and_nothing_else(speculation_: bool, tables_: bool) -> None:
    document = load(str(ROOT / "cluster.yaml"))
    before = server_flags(document.cluster)
    made = changed(document, Side(speculation=speculation_, tables=tables_)).cluster
    kept = {name: value for name, value in before.items() if speculation_ or not name.startswith("speculative-")}
    assert server_flags(made) == kept
    assert made.environment == {**document.cluster.environment, **({} if tables_ else NO_TABLES)}
    assert server_flags(document.cluster) == before


def test_speculation_that_the_file_leaves_out_is_brought_in_with_its_defaults() -> None:
    document = load(str(ROOT / "cluster.yaml"))
    before = server_flags(document.cluster)
    off = changed(document, Side(speculation=False))
    assert server_flags(changed(off, Side(speculation=True)).cluster) == before


class Restoring:
    """Counts what is brought back."""

    def __init__(self) -> None:
        self.times = 0

    def restore(self) -> Iterator[Event]:
        yield Aside("back")
        self.times += 1


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RemoteError("no")])
def test_the_first_server_is_back_however_the_work_ends(error: BaseException | None) -> None:
    def work() -> Generator[Event, None, int]:
        yield Aside("at work")
        if error:
            raise error
        return 7

    stage = Restoring()
    both = as_it_was(work(), stage)  # type: ignore[arg-type]
    if error:
        with pytest.raises(type(error)):
            list(both)
    else:
        list(both)
    assert stage.times == 1


def test_the_first_server_is_back_also_where_nobody_listens_any_more() -> None:
    def work() -> Generator[Event, None, None]:
        yield Aside("at work")

    stage = Restoring()
    both = as_it_was(work(), stage)  # type: ignore[arg-type]
    next(both)
    both.close()
    assert stage.times == 1


def test_tables_that_were_compared_become_a_case_and_one_that_cannot_run_a_result() -> None:
    a, b = Measured({}, 2e-4, 0.1), Measured({}, 1e-4, 0.0)
    found = case(Compared(64, a, b, 0.5, 0.48, 0.52))
    assert (found.name, found.parameters["verdict"]) == ("64 tokens", "faster")
    assert (found.figures["b_over_a"].low, found.figures["b_over_a"].high) == (0.48, 0.52)
    assert found.figures["a_s"].low == pytest.approx(1.8e-4)
    failed = case(Compared(64, Measured({}, 0, 0, "up: OutOfResources"), b, 0, 0, 0))
    assert (failed.figures, failed.parameters["a_failed"]) == ({}, "up: OutOfResources")
