"""What a real GPU showed of the adaptive layer beside both backends, each in its own layout; misses are listed too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SIZES = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
TP1 = ("gpt-oss-120b", "Mixtral-8x7B")
Models = dict[str, dict[str, Any]]


@pytest.fixture
def models(root: Path) -> Models:
    record = json.loads((root / "tests/gpu/record/adaptive.json").read_text())
    assert "H100" in record["gpu"]
    return {one["model"]["name"]: one for one in record["models"]}


def losses(models: Models, against: Any) -> dict[tuple[str, int], float]:
    """The adaptive layer's time against one of the two backends', eager, by model and tokens."""
    found = {}
    for name in TP1:
        for row in models[name]["sizes"]:
            times = row["eager"]
            both = against(times["triton"]["ms"], times["triton_kernels"]["ms"])
            found[name, row["tokens"]] = times["adaptive"]["ms"] / both - 1
    return found


def test_every_size_of_the_proposals_table_is_there_for_every_model(models: Models) -> None:
    assert set(TP1) < set(models)
    assert all([row["tokens"] for row in one["sizes"]] == SIZES for one in models.values())


def test_all_ways_equal_the_float32_reference_within_bfloat16s_error(models: Models) -> None:
    rows = [row for one in models.values() for row in one["sizes"]]
    errors = [error for row in rows for error in (*row["errors"].values(), row["adaptive_graph"]["error"])]
    assert len(errors) == 5 * len(rows)
    assert all(0 < error["norm"] < 0.005 and error["greatest"] < 0.01 for error in errors)


def test_there_is_no_second_copy_of_the_weights(models: Models) -> None:
    for one in models.values():
        memory = one["memory"]
        assert memory["held"] - memory["weights"] < 2 * 2**20
        for name, stock in memory["activations"].items():
            assert memory["adaptive"][name] <= stock + 2**20


def test_the_choice_costs_less_than_five_microseconds_a_call(models: Models) -> None:
    for one in models.values():
        parts = one["selection"]["parts"]
        assert 0 < parts["takes_large"] + parts["called"] + parts["views"] < 5


def test_a_captured_graph_holds_the_choice_of_its_size_and_capture_is_not_counted(models: Models) -> None:
    for one in models.values():
        for row in one["sizes"]:
            other = {"triton": "triton_kernels", "triton_kernels": "triton"}[row["chosen"]]
            shown = row["adaptive_graph"]
            assert shown["equals"] == {row["chosen"]: True, other: False}
            assert shown["counted"] == {row["chosen"]: shown["eager_calls"], other: 0}


def test_the_measured_threshold_is_followed(models: Models) -> None:
    assert {name: one["threshold"] for name, one in models.items()} == {
        "gpt-oss-120b": "128",
        "Mixtral-8x7B": "1024",
        "gpt-oss-120b TP=8": "never",
    }
    for one in models.values():
        limit = float("inf") if one["threshold"] == "never" else int(one["threshold"])
        assert all((row["chosen"] == "triton_kernels") == (row["tokens"] >= limit) for row in one["sizes"])


def test_it_is_within_three_percent_of_the_better_backend_but_in_the_cells_that_the_guide_names(
    models: Models,
) -> None:
    """The small ones are SGLang's kernel over a view; at 4096 and 8192 tokens a graph shows 3 % at most."""
    missed = {cell for cell, loss in losses(models, min).items() if loss > 0.03}
    small = {("gpt-oss-120b", 16), ("gpt-oss-120b", 32), ("gpt-oss-120b", 64), ("Mixtral-8x7B", 8)}
    assert missed == small | {("Mixtral-8x7B", 4096), ("Mixtral-8x7B", 8192)}
    for row in models["Mixtral-8x7B"]["sizes"][-2:]:
        assert row["graph"]["adaptive"]["ms"] < 1.03 * row["graph"]["triton_kernels"]["ms"]


def test_it_is_slower_than_the_worse_backend_in_the_one_cell_that_the_guide_names(models: Models) -> None:
    assert [cell for cell, loss in losses(models, max).items() if loss > 0] == [("gpt-oss-120b", 64)]
