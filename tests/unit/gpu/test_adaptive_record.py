"""What a real GPU showed of the adaptive layer beside both backends, each in its own layout; gaps are named too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SIZES = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
OSS, MIXTRAL = "gpt-oss-120b", "Mixtral-8x7B"
MODES = ("eager", "graph")
Models = dict[str, dict[str, Any]]


def read(path: Path) -> Models:
    record = json.loads(path.read_text())
    assert "H100" in record["gpu"]
    return {one["model"]["name"]: one for one in record["models"]}


@pytest.fixture
def models(root: Path) -> Models:
    return read(root / "tests/gpu/record/adaptive.json")


@pytest.fixture
def earlier(root: Path) -> Models:
    """With one threshold and SGLang's own tile over the view; storage and kernels are the same."""
    return read(root / "tests/gpu/record/adaptive_one_threshold.json")


def chosen(one: dict[str, Any], mode: str, tokens: int) -> str:
    return "triton_kernels" if tokens >= one["thresholds"][mode] else "triton"


def ratios(one: dict[str, Any], mode: str, against: Any) -> dict[int, float]:
    """The adaptive layer's time against one of the two backends', by tokens."""
    rows = {row["tokens"]: {name: found["ms"] for name, found in row[mode].items()} for row in one["sizes"]}
    return {m: row["adaptive"] / against(row["triton"], row["triton_kernels"]) for m, row in rows.items()}


def test_the_two_thresholds_differ_where_the_host_sets_the_pace(models: Models) -> None:
    found = {name: one["thresholds"] for name, one in models.items()}
    assert found == {OSS: {"eager": 3072, "graph": 3072}, MIXTRAL: {"eager": 512, "graph": 16}}


def test_mixtral_is_there_up_to_4096_tokens_and_gpt_oss_by_its_profile_alone(models: Models, earlier: Models) -> None:
    """The run's time was up; the earlier one has every size of three models."""
    assert [row["tokens"] for row in models[MIXTRAL]["sizes"]] == SIZES[:-1]
    assert models[OSS]["sizes"] == []
    for mode in MODES:
        assert {int(m) for m in models[OSS]["profile"][mode]} == {*SIZES, 1536, 3072}
    assert all([row["tokens"] for row in one["sizes"]] == SIZES for one in earlier.values())


@pytest.mark.parametrize("mode", MODES)
def test_mixtral_is_within_three_percent_of_the_better_backend_at_every_size(models: Models, mode: str) -> None:
    found = ratios(models[MIXTRAL], mode, min)
    assert len(found) == 10
    assert max(found.values()) < 1.03
    assert max(ratios(models[MIXTRAL], mode, max).values()) < 1.01


def test_mixtral_of_8192_tokens_missed_its_bound_in_the_earlier_run_and_4096_no_longer_does(
    models: Models, earlier: Models
) -> None:
    """The guide names both; 8192 tokens were not measured again."""
    before = ratios(earlier[MIXTRAL], "eager", min)
    assert {m: round(before[m], 2) for m in (4096, 8192)} == {4096: 1.07, 8192: 1.08}
    assert round(ratios(earlier[MIXTRAL], "graph", min)[8192], 2) == 1.03
    assert ratios(models[MIXTRAL], "eager", min)[4096] < 1


def test_eager_mixtral_of_medium_sizes_is_faster_than_either_backend_alone(models: Models) -> None:
    found = ratios(models[MIXTRAL], "eager", min)
    assert all(0.65 < found[m] < 0.91 for m in (16, 32, 64, 128, 256))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [OSS, MIXTRAL])
def test_the_profiles_choice_loses_at_most_three_percent_at_every_size(models: Models, name: str, mode: str) -> None:
    one = models[name]
    lost = [row[chosen(one, mode, int(m))] / min(row.values()) for m, row in one["profile"][mode].items()]
    assert len(lost) == 13
    assert max(lost) < 1.03


def test_gpt_oss_in_a_graph_is_within_three_percent_of_the_better_backend(models: Models, earlier: Models) -> None:
    """SGLang's kernel in its own layout is of the earlier run; at small sizes both runs have it, 1 % apart."""
    one, native = models[OSS], {row["tokens"]: row["graph"]["triton"]["ms"] for row in earlier[OSS]["sizes"]}
    for row in one["tiles"]["ms"]:
        assert abs(row["native"] / native[row["tokens"]] - 1) < 0.01
    for m, ms in native.items():
        row = one["profile"]["graph"][str(m)]
        assert row[chosen(one, "graph", m)] < 1.03 * min(ms, row["triton_kernels"])


def test_the_wide_tile_makes_the_view_as_fast_as_the_own_layout(models: Models) -> None:
    rows = [row for one in models.values() for row in one["tiles"]["ms"]]
    assert len(rows) == 6
    assert all(one["tiles"]["taken"] == "128x32" for one in models.values())
    assert max(row["128x32"] / row["native"] for row in rows) < 1.01
    assert min(row["32x64"] / row["native"] for row in rows) > 1.14


def test_all_ways_equal_the_float32_reference_within_bfloat16s_error(models: Models, earlier: Models) -> None:
    rows = [row for one in (*models.values(), *earlier.values()) for row in one["sizes"]]
    errors = [error for row in rows for error in (*row["errors"].values(), row["adaptive_graph"]["error"])]
    assert len(errors) == 5 * (10 + 33)
    assert all(0 < error["norm"] < 0.005 and error["greatest"] < 0.01 for error in errors)


def test_there_is_no_second_copy_of_the_weights(earlier: Models, models: Models) -> None:
    """What is held, of the earlier run: in the later one other layers were freed while it was taken."""
    for one in earlier.values():
        assert one["memory"]["held"] - one["memory"]["weights"] < 2 * 2**20
    for one in (*models.values(), *earlier.values()):
        for name, stock in one["memory"]["activations"].items():
            assert one["memory"]["adaptive"][name] <= stock + 2**20


def test_the_choice_costs_less_than_five_microseconds_a_call(models: Models) -> None:
    for one in models.values():
        parts = one["selection"]["parts"]
        assert 0 < parts["takes_large"] + parts["called"] + parts["views"] < 3


def test_a_captured_graph_holds_its_own_choice_and_eager_calls_theirs(models: Models) -> None:
    one = models[MIXTRAL]
    for row in one["sizes"]:
        eager, graph = (chosen(one, mode, row["tokens"]) for mode in MODES)
        shown = row["adaptive_graph"]
        assert row["chosen"] == eager
        assert shown["equals"] == {name: name == graph for name in ("triton", "triton_kernels")}
        # Calls before the capture are eager ones here, and the capture is not counted.
        assert shown["counted"] == {name: 2 * (name == eager) for name in ("triton", "triton_kernels")}
    assert sum(chosen(one, "eager", m) != chosen(one, "graph", m) for m in SIZES) == 5
