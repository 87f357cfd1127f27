"""The flow of a run, on a stand-in for a GPU: nothing is lost, nothing is measured twice, the same files come out."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import ConfigError, KernelError, TuneError
from deploy.event import Event, Note, Progress
from deploy.kernels.finding import Target
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune.happening import Happening, Lost
from deploy.tune.local import measured
from deploy.tune.play import NoMemoryError
from deploy.tune.problem import Problem
from deploy.tune.search import GEMMS
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial
from deploy.workflow.tuning.kept import Kept
from deploy.workflow.tuning.order import Order
from deploy.workflow.tuning.outcome import Outcome
from deploy.workflow.tuning.run import tune
from tests.operation import run
from tests.unit.tune import test_play

ONLY = tuple(Config(16, n, 64, 1, 4, stages) for n in (32, 64, 128) for stages in (2, 3))
FAST = (Config(16, 256, 64, 1, 4, 3),)
PROBLEM = Problem(Shape(8, 64, 128, 2, "fp8_w8a8"), GB10)
FACTS = {"device": "a stand-in", "capability": [12, 1], "bandwidth": 2.7e11, "operations": 1e14}


class Device(test_play.Device):
    """The same, and SGLang's default, which has more rows than all else, is slow on it."""

    def time(self, trial: Trial, limit: float) -> Timing:
        timing = super().time(trial, limit)
        if trial.config.block_m == 16 and (trial.config.block_n <= 128 or trial.config in FAST):
            return timing
        return replace(timing, seconds=tuple(9 * one for one in timing.seconds))


class Site:
    """A stand-in for a place with one GPU, which is also a stand-in."""

    def __init__(self, device: Device | None = None, facts: Mapping[str, Any] = FACTS) -> None:
        self.device, self.facts = device or Device(), facts
        self.asked: list[Sequence[int]] = []
        self.closed = 0

    def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
        yield Note("a GPU")
        return self.facts

    def measured(self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:
        self.asked.append(sizes)
        yield from measured(task, sizes, self.device, known)

    def close(self) -> None:
        self.closed += 1


class Dying(Device):
    """Is interrupted after some trials."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__()
        self.after, self.error = after, error

    def time(self, trial: Trial, limit: float) -> Timing:
        if len(self.made) == self.after:
            raise self.error
        return super().time(trial, limit)


@pytest.fixture
def order(tmp_path: Path) -> Order:
    home = tmp_path / "configs" / "triton_3_5_0"
    return Order(PROBLEM, Target(fitted_default=True), (1, 16), home, tmp_path / "journal.jsonl", ONLY)


def texts(events: Sequence[Event]) -> str:
    return "\n".join(one.text for one in events if isinstance(one, Note))


def content(order: Order) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(order.home.iterdir())}


def keys(order: Order) -> list[int]:
    return [int(one) for one in json.loads(order.file("up").read_text())]


def test_a_run_writes_both_tables_with_their_provenance(order: Order) -> None:
    site = Site()
    events, outcome = run(tune(order, site))
    assert site.asked[0] == [16, 1]
    assert site.closed == 1
    assert len(content(order)) == 4
    assert keys(order) == [1, 16]
    assert outcome.results.found[16].best["up"].config.block_n == 128
    assert "1 sizes" not in texts(events)
    assert [one.current for one in events if isinstance(one, Progress) and one.task == "tune"][-1] > 0


def test_a_finished_run_measures_nothing_and_writes_the_same_bytes(order: Order) -> None:
    first = run(tune(order, Site()))[1]
    before = content(order)
    for file in order.home.iterdir():
        file.unlink()
    os.utime(order.journal, (1.7e9, order.journal.stat().st_mtime))
    again = Site()
    second = run(tune(order, again))[1]
    assert again.asked == []
    assert not again.device.made
    assert content(order) == before
    third = run(tune(order, Site()))[1]
    assert content(order) == before
    assert third.written == ()
    assert first.compared == second.compared == third.compared
    assert first.as_text() == second.as_text() == third.as_text()


def test_a_journal_alone_makes_the_same_tables(order: Order, tmp_path: Path) -> None:
    run(tune(order, Site()))
    elsewhere = replace(order, home=tmp_path / "elsewhere")
    run(tune(elsewhere, Kept(order.problem, order.journal)))
    assert content(elsewhere) == content(order)


def test_an_old_table_that_the_journal_does_not_know_is_not_called_slower_or_the_same(order: Order) -> None:
    run(tune(order, Site()))
    other = {"1": FAST[0].as_json(), "16": FAST[0].as_json()}
    for gemm in GEMMS:
        order.file(gemm).write_text(json.dumps(other))
    outcome = run(tune(order, Kept(order.problem, order.journal)))[1]
    assert outcome.as_text().count("another; not timed beside it") == 2


def test_a_journal_alone_that_is_not_whole_is_refused(order: Order) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tune(order, Site(Dying(30))))
    with pytest.raises(TuneError, match="were not measured to their end"):
        run(tune(order, Kept(order.problem, order.journal)))
    assert not order.home.exists()


@pytest.mark.parametrize("after", [0, 1, 30, 75, 140])
def test_a_run_that_was_interrupted_goes_on_where_it_was(order: Order, tmp_path: Path, after: int) -> None:
    whole = replace(order, journal=tmp_path / "other.jsonl", home=tmp_path / "other")
    reference = Site()
    run(tune(whole, reference))
    dying = Site(Dying(after))
    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        events.extend(tune(order, dying))
    assert dying.closed == 1
    assert "the same command goes on" in texts(events)
    again = Site()
    run(tune(order, again))
    assert len(dying.device.made) + len(again.device.made) == len(reference.device.made)
    tables = {name: text for name, text in content(order).items() if "provenance" not in name}
    assert tables == {name: text for name, text in content(whole).items() if "provenance" not in name}


def test_an_interruption_of_the_view_is_told_too(order: Order) -> None:
    going = tune(order, Site())
    for event in going:
        if isinstance(event, Progress):
            break
    said = going.throw(KeyboardInterrupt())
    assert isinstance(said, Note)
    assert "the same command goes on" in said.text
    with pytest.raises(KeyboardInterrupt):
        next(going)


def test_a_journal_that_was_cut_off_loses_one_measurement(order: Order) -> None:
    reference = Site()
    run(tune(order, reference))
    order.journal.write_bytes(order.journal.read_bytes()[:-9])
    again = Site()
    run(tune(order, again))
    assert len(again.device.made) == 1


def test_another_batch_size_is_added_to_the_tables(order: Order) -> None:
    run(tune(order, Site()))
    site = Site()
    outcome = run(tune(replace(order, sizes=(4, 16)), site))[1]
    assert site.asked[0] == [4]
    assert keys(order) == [1, 4, 16]
    assert sorted(outcome.results.found) == [4, 16]


def lay_down(order: Order, config: Config) -> None:
    """Tables that were there before."""
    order.home.mkdir(parents=True)
    for name in (order.file("up"), order.file("down")):
        name.write_text(json.dumps({str(size): config.as_json() for size in (1, 16, 64)}))


def test_old_and_new_are_timed_in_turns(order: Order) -> None:
    lay_down(order, ONLY[0])
    outcome = run(tune(order, Site()))[1]
    assert outcome.had_tables
    assert sorted(outcome.compared) == [1, 16]
    assert outcome.compared[1].verdict == "faster"
    assert keys(order) == [1, 16, 64]
    assert "the table that was there" in outcome.as_text()


def test_an_old_entry_that_is_faster_in_every_round_is_kept(order: Order) -> None:
    best = FAST[0]
    lay_down(order, best)
    for _ in range(2):  # a second run comes to the same
        events, outcome = run(tune(order, Site()))
        assert outcome.compared[16].verdict == "slower"
        assert "1, 16 tokens: what was there is faster" in texts(events)
        assert json.loads(order.file("up").read_text())["16"] == best.as_json()


def test_where_there_is_no_table_the_default_is_what_was_there(order: Order) -> None:
    outcome = run(tune(order, Site()))[1]
    assert not outcome.had_tables
    assert "before is the default" in outcome.as_text()
    assert outcome.compared[16].verdict == "faster"


def test_a_default_that_is_faster_everywhere_needs_no_table(order: Order) -> None:
    run(tune(order, Site(test_play.Device())))
    assert not order.home.exists()


def test_an_old_table_that_cannot_run_is_said_and_replaced(order: Order) -> None:
    class Refusing(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            return Timing(failed="out of resource") if trial.config.block_n == 256 else super().time(trial, limit)

    order.home.mkdir(parents=True)
    large = {str(size): Config(128, 256, 128, 32, 8, 4).as_json() for size in (1, 16, 64)}
    order.file("up").write_text(json.dumps(large))
    events, outcome = run(tune(order, Site(Refusing())))
    assert "entries of before are left out" in texts(events)
    assert keys(order) == [1, 16]
    assert outcome.compared[16].verdict == "not comparable"
    assert "the old one cannot run" in outcome.as_text()
    assert outcome.as_json()["sizes"][0]["compared"]["a"]["failed"] == "up: out of resource"


def test_a_size_without_a_result_is_told_after_the_others_are_written(order: Order) -> None:
    class Refusing(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            return Timing(failed="no kernel image") if trial.tokens == 16 else super().time(trial, limit)

    outcome = run(tune(order, Site(Refusing())))[1]
    assert keys(order) == [1]
    assert "no kernel image" in outcome.results.failed[16]
    assert "16 tokens: " in outcome.as_text()


def test_where_no_size_has_a_result_nothing_is_written(order: Order) -> None:
    class Refusing(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            return Timing(failed="no")

    outcome = run(tune(order, Site(Refusing())))[1]
    assert sorted(outcome.results.failed) == [1, 16]
    assert not order.home.exists()


def test_a_gpu_that_is_lost_is_told(order: Order) -> None:
    class Losing(Site):
        def measured(
            self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]
        ) -> Iterator[Happening | Event]:
            yield Lost("spark-2", "the node is gone", 16)
            yield from super().measured(task, sizes, known)

    said = texts(run(tune(order, Losing()))[0])
    assert "spark-2: its GPU is gone: the node is gone; 16 tokens go to another GPU" in said


def test_a_place_that_ends_early_leaves_a_run_to_go_on(order: Order) -> None:
    class Lazy(Site):
        def measured(
            self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]
        ) -> Iterator[Happening | Event]:
            yield from measured(task, sizes[:1], self.device, known)

    with pytest.raises(TuneError, match="1 tokens were not measured to their end"):
        run(tune(order, Lazy()))
    assert not order.home.exists()


def test_a_journal_of_another_device_is_refused_and_everything_closed(order: Order) -> None:
    run(tune(order, Site()))
    site = Site(facts={**FACTS, "device": "another stand-in"})
    with pytest.raises(TuneError, match="device a stand-in, and here it is another stand-in"):
        run(tune(order, site))
    assert site.closed == 1
    assert not site.asked


def test_a_journal_of_another_problem_is_refused_before_anything_starts(order: Order) -> None:
    run(tune(order, Site()))
    before = order.journal.read_bytes()

    class Untouched(Site):
        def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
            pytest.fail("it was asked")

    with pytest.raises(TuneError, match="holds measurements of another problem"):
        run(tune(replace(order, problem=replace(PROBLEM, skew=1.0)), Untouched()))
    assert order.journal.read_bytes() == before


def test_a_broken_old_table_is_refused_before_anything_is_measured(order: Order) -> None:
    order.home.mkdir(parents=True)
    order.file("up").write_text("{")
    site = Site()
    with pytest.raises(ConfigError, match="is not JSON"):
        run(tune(order, site))
    assert site.closed == 0


def test_what_could_not_run_is_not_written(order: Order) -> None:
    small = replace(order, problem=replace(PROBLEM, gpu=replace(GB10, shared_memory=1 << 20)))
    wide = replace(small, only=(Config(128, 256, 256, 1, 8, 4),))
    with pytest.raises(KernelError, match="bytes of shared memory"):
        run(tune(wide, Site()))


def test_the_result_as_json_has_every_size(order: Order) -> None:
    outcome: Outcome = run(tune(order, Site()))[1]
    told = json.loads(json.dumps(outcome.as_json()))
    assert [one["tokens"] for one in told["sizes"]] == [1, 16]
    one = told["sizes"][1]
    assert one["seconds"] >= one["bound"] > 0
    assert one["up"]["BLOCK_SIZE_N"] == 128
    assert one["compared"]["verdict"] == "faster"
    assert told["files"]["down"].endswith("_down.json")


def test_with_other_routing_nothing_is_said_of_a_bound(order: Order) -> None:
    skewed = replace(order, problem=replace(PROBLEM, skew=1.0))
    events, outcome = run(tune(skewed, Site()))
    assert "bound" not in texts(events)
    assert outcome.as_json()["sizes"][0]["bound"] is None
    assert outcome.lines.bound == {}
    assert "skewed (1)" in outcome.title


def test_a_size_for_which_there_is_no_memory_now_is_told_and_measured_by_the_next_run(order: Order) -> None:
    class Full(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            if trial.tokens == 16 and len(self.made) > 10:
                raise NoMemoryError("CUDA out of memory")
            return super().time(trial, limit)

    first = run(tune(order, Site(Full())))[1]
    assert first.results.failed == {16: "CUDA out of memory"}
    assert keys(order) == [1]
    again = run(tune(order, Site()))[1]
    assert not again.results.failed
    assert keys(order) == [1, 16]


def test_what_several_nodes_measured_is_not_called_one_gpu_s(order: Order) -> None:
    class Pair(Site):
        def measured(
            self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]
        ) -> Iterator[Happening | Event]:
            for size in sizes:
                yield from measured(task, [size], self.device, known, f"spark-{size}")

    outcome = run(tune(order, Pair()))[1]
    assert "on 2 nodes of a kind, each with a stand-in" in outcome.as_text()
    assert outcome.as_json()["facts"]["nodes"] == 2
    provenance = order.file("up").with_name(order.file("up").stem + ".provenance.json").read_text()
    assert "Timed on 2 nodes of a kind, each with a stand-in" in provenance


def test_kernels_that_were_wrong_or_could_not_run_are_told(order: Order) -> None:
    class Bad(Device):
        def time(self, trial: Trial, limit: float) -> Timing:
            if trial.config.block_n == 32:
                return Timing(failed="CUDA error: an illegal memory access\nand more")
            wrong = trial.config.group_m == 16 and not trial.replays
            return Timing(error=0.5) if wrong else super().time(trial, limit)

    events, outcome = run(tune(order, Site(Bad())))
    assert "16 tokens: left out: up 16x32x64 g1 w4 s2: CUDA error: an illegal memory access, and" in texts(events)
    assert "more (--json names them)" in texts(events)
    reasons = {one["why"] for one in outcome.as_json()["sizes"][0]["dropped"]}
    assert "wrong: off by 0.500 of the greatest value" in reasons
    assert "left out" not in texts(run(tune(replace(order, journal=order.journal.with_name("b")), Site()))[0])
