"""Medians, the fastest, and where two lines cross."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.kernels.shape import Shape
from deploy.tune.fused.result import Cell, Results, all_crossings, bound, crossings, ratios


def cell(*microseconds: float) -> Cell:
    return Cell(tuple(one * 1e-6 for one in microseconds), 0.003)


def results(**lines: list[Cell]) -> Results:
    """A line of cells an implementation, at 8, 16, ... tokens."""
    found = Results(tuple(lines))
    for at in range(len(next(iter(lines.values())))):
        found.cells[8 << at] = {name: line[at] for name, line in lines.items()}
    return found


def test_a_cell_is_the_median_of_its_rounds_with_their_range() -> None:
    one = cell(10, 11, 14)
    assert one.seconds == pytest.approx(11e-6)
    assert one.spread == pytest.approx(4 / 11)


def test_the_fastest_is_clear_where_every_round_says_so() -> None:
    found = results(sglang=[cell(10, 11), cell(10, 14)], vllm=[cell(12, 13), cell(12, 13)])
    assert found.fastest(8) == ("sglang", True)
    assert found.fastest(16) == ("sglang", False)


def test_rounds_are_compared_with_those_beside_them() -> None:
    assert ratios(cell(10, 30), cell(20, 20)) == pytest.approx([0.5, 1.5])


def test_where_nothing_was_timed_nobody_is_the_fastest() -> None:
    assert results(sglang=[Cell(failed="OutOfResources")]).fastest(8) == ("", False)


def test_lines_cross_where_the_logarithms_meet() -> None:
    found = results(sglang=[cell(10, 10), cell(40, 40)], triton_kernels=[cell(20, 20), cell(20, 20)])
    (one,) = crossings(found, "sglang", "triton_kernels")
    assert (one.first, one.second, one.between) == ("sglang", "triton_kernels", (8, 16))
    assert one.tokens == pytest.approx(8 * 2**0.5)


def test_who_was_slower_first_comes_second() -> None:
    found = results(sglang=[cell(20, 20), cell(20, 20)], vllm=[cell(40, 40), cell(10, 10)])
    (one,) = crossings(found, "sglang", "vllm")
    assert (one.first, one.second) == ("sglang", "vllm")
    (other,) = crossings(found, "vllm", "sglang")
    assert (other.first, other.second, other.tokens) == ("sglang", "vllm", pytest.approx(one.tokens))


def test_sizes_within_the_spread_are_neither_s() -> None:
    sglang = [cell(10, 10), cell(19, 21), cell(40, 40)]
    (one,) = crossings(results(sglang=sglang, vllm=[cell(20, 20)] * 3), "sglang", "vllm")
    assert one.between == (8, 32)
    assert crossings(results(sglang=sglang[:2], vllm=[cell(20, 20)] * 2), "sglang", "vllm") == []


def test_a_difference_that_nobody_feels_is_no_crossing() -> None:
    found = results(sglang=[cell(10, 10), cell(20.1, 20.1)], vllm=[cell(20, 20), cell(20, 20)])
    assert crossings(found, "sglang", "vllm") == []


def test_sizes_where_one_was_dropped_are_left_out() -> None:
    lines = {"sglang": [cell(10), Cell(failed="x"), cell(40)], "vllm": [cell(20), cell(20), cell(20)]}
    assert [one.between for one in crossings(results(**lines), "sglang", "vllm")] == [(8, 32)]


def test_crossings_are_those_of_sglang_or_else_of_the_first() -> None:
    lines = {"vllm": [cell(10), cell(40)], "sglang": [cell(20), cell(20)], "torch_compile": [cell(10), cell(40)]}
    assert len(all_crossings(results(**lines))) == 2
    del lines["sglang"]
    assert all_crossings(results(**lines)) == []


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=8))
def test_every_change_of_the_faster_one_is_a_crossing_between_its_sizes(pairs: list[tuple[float, float]]) -> None:
    found = results(sglang=[cell(one) for one, _ in pairs], vllm=[cell(other) for _, other in pairs])
    signs = [a < b for a, b in pairs if max(a, b) > 1.0101 * min(a, b)]
    if len(signs) == len(pairs):
        changes = sum(a != b for a, b in pairwise(signs))
        assert len(crossings(found, "sglang", "vllm")) == changes
    for one in crossings(found, "sglang", "vllm"):
        assert one.between[0] * (1 - 1e-9) <= one.tokens <= one.between[1] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("dtype", "least"), [("bf16", 0.02), ("int8_w8a16", 0.02), ("int8_w8a8", 0.05), ("fp8_w8a8", 0.1)]
)
def test_eight_bits_of_activations_may_be_further_off(dtype: str, least: float) -> None:
    assert bound(Shape(8, 128, 256, 2, dtype)) == least
