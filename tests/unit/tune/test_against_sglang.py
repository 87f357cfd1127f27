"""The kept comparison with SGLang's method follows from the kept journals, and shows what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tuner import SHAPES, evaluated, numbers, opened, summary

MEASURED = (1, 16, 64, 512, 4096)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for name in SHAPES:
        with opened(Path(__file__).parents[3] / "benchmarks/results/tuner", name) as journal:
            assert journal
            more, shape = evaluated(name, journal)
            rows, shapes = [*rows, *more], [*shapes, shape]
    return summary(rows, shapes)


def test_every_candidate_was_timed_at_five_batch_sizes_of_two_families(told: dict[str, Any]) -> None:
    assert [(row["shape"], row["tokens"]) for row in told["rows"]] == [
        (name, tokens) for name in SHAPES for tokens in MEASURED
    ]
    assert numbers("1,16,64,512,4096") == MEASURED


def test_it_takes_a_fiftieth_of_the_gpu_time_at_most_for_all_batch_sizes(told: dict[str, Any]) -> None:
    assert told["gpu_seconds_ratio"] >= 50
    assert all(len(shape["both_sizes"]) == 18 for shape in told["shapes"])


def test_no_choice_is_more_than_two_percent_slower_than_the_best(told: dict[str, Any]) -> None:
    assert told["worst_loss"] <= 0.02
    assert told["worst_gemm_loss"] <= 0.02


def test_the_kept_figures_are_these(told: dict[str, Any], root: Path) -> None:
    kept = json.loads((root / "benchmarks/results/tuner-2026-11-21.json").read_text())
    assert json.loads(json.dumps(told)) == kept
