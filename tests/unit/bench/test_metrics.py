from __future__ import annotations

import random
import statistics

import pytest

from deploy.bench.metrics import CHUNKS_AS_TOKENS, FIGURES, figures, interval, share_interval, summary
from deploy.bench.reading import Answer, read_stream
from deploy.bench.results import Repeat
from tests.unit.bench.answers import steady


@pytest.mark.parametrize("size", [1, 3, 4, 8])
@pytest.mark.parametrize("counted", [True, False])
def test_a_steady_stream_gives_its_true_figures_at_any_chunk_size(size: int, counted: bool) -> None:
    found = figures(read_stream(steady(240, size, 0.5, 100.0, counted=counted)))
    assert found["ttft_s"] == 0.5
    assert found["decode_tok_s"] == pytest.approx(100)
    assert found["chunk_gap_s"] == pytest.approx(size / 100)
    assert found["tokens_per_chunk"] == size
    assert found[CHUNKS_AS_TOKENS] == pytest.approx(100 / size)
    assert set(found) <= set(FIGURES)


def test_a_first_chunk_of_another_size_does_not_bend_the_rate_where_the_server_counts() -> None:
    times = tuple(1 + 0.08 * number for number in range(11))
    answer = Answer(usage={"completion_tokens": 81}, times=times, ended=times[-1], first_tokens=1)
    assert figures(answer)["decode_tok_s"] == pytest.approx(100)


def test_one_chunk_has_no_speed() -> None:
    found = figures(Answer(usage={"completion_tokens": 5}, times=(0.1,), ended=0.1))
    assert "decode_tok_s" not in found
    assert found["ttft_s"] == 0.1


def test_a_failed_repeat_is_in_no_figure() -> None:
    good = [Repeat(True, figures={"ttft_s": value}) for value in (1.0, 2.0, 9.0)]
    found = summary([*good, Repeat(False, "gone", "cut", figures={"ttft_s": 0.0})])
    assert (found["ttft_s"].median, found["ttft_s"].n) == (2.0, 3)
    assert summary([Repeat(False, "gone", "cut")]) == {}


def test_a_share_is_no_median() -> None:
    found = summary([Repeat(True, figures={"correct": value}) for value in (1.0, 1.0, 0.0, 1.0)])["correct"]
    assert found.median == 0.75
    assert 0.3 < found.low < 0.75 < found.high < 1
    assert share_interval(0, 4)[0] == 0
    assert share_interval(4, 4)[1] == 1


@pytest.mark.parametrize("n", [3, 5, 6, 9, 20])
def test_the_interval_holds_the_true_median_in_95_of_100_samples(n: int) -> None:
    dice, held = random.Random(n), 0
    for _ in range(2000):
        low, high = interval([dice.gauss(10, 2) for _ in range(n)])
        held += low <= 10 <= high
    assert held / 2000 >= 0.94


def test_few_values_and_many_equal_ones() -> None:
    assert interval([3.0]) == (3.0, 3.0)
    assert interval([2.0] * 4) == (2.0, 2.0)
    low, high = interval([float(number) for number in range(1, 101)])
    assert low < statistics.median(range(1, 101)) < high
    assert (low, high) == (40.0, 61.0)
