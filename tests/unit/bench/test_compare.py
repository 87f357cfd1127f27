"""Comparisons: what is called a regression, what is not, and what is told beside the figures."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.bench.compare import Comparison, Rule, Side, compare
from deploy.bench.plots import STEP
from deploy.bench.results import Case, Run
from deploy.bench.verdicts import as_dict, as_text
from deploy.errors import BenchError
from tests.unit.bench.samples import CRASH, all_suites, case, noisy, run

VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8)


def sides(a: list[Case], b: list[Case], **rule: Any) -> Comparison:
    return compare(Side("a", (run("context", a),)), Side("b", (run("context", b),)), Rule(**rule))


def speeds(*values: float, name: str = "decode_tok_s") -> list[Case]:
    return [case("one", [{name: value} for value in values])]


@given(values=VALUES, seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_run_against_itself_has_ratio_one_and_no_regression(values: list[float], seed: int) -> None:
    found = sides(speeds(*values), speeds(*values), seed=seed, threshold=0.0)
    (one,) = found.figures
    assert one.ratio == 1
    assert one.verdict == ("no difference" if len(values) > 2 else "too few repeats")
    assert not found.regressed
    if one.low is not None and one.high is not None:
        assert one.low <= 1 <= one.high


def test_every_suite_against_itself_differs_in_nothing() -> None:
    runs = tuple(all_suites())
    found = compare(Side("a", runs), Side("b", runs), Rule())
    # A launch is had once, and the line through all lengths has no repeats of its own.
    once = [one for one in found.figures if one.figure == "served" or one.figure in STEP]
    assert {one.verdict for one in once} == {"too few repeats"}
    assert {one.verdict for one in found.figures if one not in once} == {"no difference"}
    assert not found.regressed
    assert not found.servers
    assert found.failed  # the same ones failed on both sides


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_true_slowdown_of_ten_percent_is_found(seed: int) -> None:
    random = Random(seed)
    slow = sides(
        [case("one", noisy(random, 5, 0.01, decode_tok_s=20, ttft_s=1))],
        [case("one", noisy(random, 5, 0.01, decode_tok_s=18, ttft_s=1.1))],
    )
    assert [one.verdict for one in slow.figures] == ["worse", "worse"]
    assert len(slow.regressed) == 2


def test_noise_alone_is_no_regression_in_most_seeds() -> None:
    def regressed(seed: int) -> bool:
        random = Random(seed)
        a, b = ([case("one", noisy(random, 5, 0.05, decode_tok_s=20))] for _ in range(2))
        return bool(sides(a, b, seed=seed).regressed)

    assert sum(map(regressed, range(200))) <= 10


def test_which_way_is_worse_is_the_figure_s_own() -> None:
    fast, slow = (20.0, 20.1, 19.9), (10.0, 10.1, 9.9)
    assert sides(speeds(*fast), speeds(*slow)).figures[0].verdict == "worse"
    assert sides(speeds(*slow), speeds(*fast)).figures[0].verdict == "better"
    assert sides(speeds(*fast, name="ttft_s"), speeds(*slow, name="ttft_s")).figures[0].verdict == "better"
    counted = sides(speeds(*fast, name="completion_tokens"), speeds(*slow, name="completion_tokens"))
    assert counted.figures[0].verdict == "different"
    assert not counted.regressed


def test_a_difference_below_the_threshold_is_not_told() -> None:
    a, b = speeds(100.0, 100.1, 99.9), speeds(96.0, 96.1, 95.9)
    assert not sides(a, b, threshold=0.05).regressed
    assert sides(a, b, threshold=0.03).regressed


def test_two_repeats_give_no_verdict() -> None:
    found = sides(speeds(20.0, 20.1), speeds(10.0, 10.1))
    assert found.figures[0].verdict == "too few repeats"
    assert found.figures[0].low is None
    assert not found.regressed
    assert "it takes 3 repeats on each side" in as_text(found)


def test_from_zero_there_is_no_ratio_but_a_verdict() -> None:
    found = sides(speeds(0.0, 0.0, 0.0, name="correct"), speeds(1.0, 1.0, 1.0, name="correct"))
    assert (found.figures[0].ratio, found.figures[0].verdict) == (None, "better")
    back = sides(speeds(1.0, 1.0, 1.0, name="correct"), speeds(0.0, 0.0, 0.0, name="correct"))
    assert (back.figures[0].ratio, back.figures[0].verdict) == (0, "worse")


def test_repeats_of_several_runs_of_a_side_are_put_together() -> None:
    one, other = (run("context", speeds(*values)) for values in ((20.0, 20.1), (19.9, 20.0)))
    found = compare(Side("a", (one, other)), Side("b", (one, other)), Rule())
    assert found.figures[0].repeats == (4, 4)


def test_the_same_name_with_other_parameters_is_another_case() -> None:
    a = [case("one", [{"ttft_s": 1.0}], tokens=1), case("one", [{"ttft_s": 9.0}], tokens=2)]
    found = sides(a, a[:1])
    assert len(found.figures) == 1
    assert [key[2] for key in found.missing["b"]] == [(("tokens", 2),)]
    assert "? context one (tokens=2): not in b" in as_text(found)


def test_a_case_that_fails_in_b_alone_is_a_regression() -> None:
    good = [case("C", noisy(Random(1), decode_tok_s=16.0))]
    bad = [case("C", [], failed=CRASH)]
    found = sides(good, bad)
    assert found.regressed == ("context C: failed",)
    assert f"0 of 5 failed in A, 1 of 1 in B: {CRASH}" in as_text(found)
    assert not sides(bad, good).regressed
    assert not sides(bad, bad).regressed


def test_servers_that_differ_are_told() -> None:
    def of(version: str, tp: int) -> Run:
        made = run("context", speeds(1.0), version=version)
        return replace(made, server=replace(made.server, flags={"tp-size": tp}))

    found = compare(Side("a", (of("0.5.4", 4),)), Side("b", (of("0.5.5", 8),)), Rule())
    assert found.servers == (("version", "0.5.4", "0.5.5"), ("--tp-size", "4", "8"))


def test_a_run_that_was_not_finished_is_told() -> None:
    found = compare(
        Side("a", (run("context", speeds(1.0)),)), Side("b", (run("context", speeds(1.0), complete=False),)), Rule()
    )
    assert found.doubts == ("b: context of 2026-01-01T00:00:00Z was not finished",)


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(BenchError, match="no case in common"):
        sides(speeds(1.0), [case("other", [{"ttft_s": 1.0}])])


def test_the_same_seed_gives_the_same_intervals() -> None:
    a, b = ([case("one", noisy(Random(seed), decode_tok_s=20))] for seed in (1, 2))
    assert as_dict(sides(a, b, seed=7)) == as_dict(sides(a, b, seed=7))
    assert as_dict(sides(a, b, seed=7))["figures"] != as_dict(sides(a, b, seed=8))["figures"]
