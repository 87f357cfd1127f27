"""What `bench run` counted of the real engine is what the engine says it processed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.lives import LIVES, SIMULATED

RECORD = Path(__file__).resolve().parents[2] / "gpu" / "record" / "bench.json"
LONGEST = 4
"""Tokens of the largest verification: three drafted steps and its own."""
CUT = ("eagle toolcall", "eagle beside")
"""What did not come to its end in the record: the time was up after ten of nineteen answers; and the
model said nothing in text, so that the clients' cost a chunk of text, which came last, could not be told."""
ROUNDING = 0.006
"""Of the two digits in which SGLang logs an accept length."""

pytestmark = pytest.mark.skipif(not RECORD.exists(), reason="no record of counts yet: see tests/gpu/README.md")


@pytest.fixture
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


def steps(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for life, told in record["lives"].items():
        for suite, step in told["steps"].items():
            yield f"{life} {suite}", step


def accepted(record: dict[str, Any], life: str) -> list[dict[str, Any]]:
    told = record["lives"][life]["steps"].values()
    return [row for step in told for row in step.get("results", {}).get("accept_length", ())]


def test_the_record_is_of_the_real_engine_and_says_what_did_not_come_to_its_end(record: dict[str, Any]) -> None:
    assert record["sglang"] != "stand-in"
    assert record["devices"]
    wanted = {f"{life.name} {step.suite}" for life in LIVES for step in life.steps}
    assert {name for name, _ in steps(record)} == wanted
    cut = {name: step for name, step in steps(record) if step["code"] != 0}
    assert set(cut) <= set(CUT)
    for name, step in cut.items():
        assert step["code"] is None or step["said"], name
        assert step["requests"]["found"] >= 8, name


def test_the_tokens_of_every_request_are_the_engine_s_own(record: dict[str, Any]) -> None:
    for name, step in steps(record):
        asked = step["requests"]
        assert asked["requests"] == asked["found"] > 0, name
        assert (asked["unequal"], asked["failed"]) == ([], 0), name
        assert asked["ours"] == asked["engine"], name
        seen = step.get("results", {})
        assert seen.get("repeats") == seen.get("found"), name
        assert not seen.get("unequal"), name


def test_the_engine_s_two_counts_are_one(record: dict[str, Any]) -> None:
    for name, step in steps(record):
        assert step["prometheus"], name
        for counter, value in step["prometheus"].items():
            assert value == step["engine_total"][counter], (name, counter)


def test_the_tokens_of_every_run_of_bench_serving_are_the_engine_s_own(record: dict[str, Any]) -> None:
    rows = [(name, row) for name, step in steps(record) for row in step.get("load", ())]
    assert rows
    for name, row in rows:
        assert row["ok"], name
        assert row["ours"] == row["engine"], name
        # Each of its requests may end within a step more or less.
        assert abs(row["accept_length"] - row["engine_accept_length"]) < 0.05, name


@pytest.mark.parametrize("life", ["eagle", "simulated"])
def test_an_accept_length_is_the_engine_s_to_a_step(record: dict[str, Any], life: str) -> None:
    """SGLang's average has one verification more than the request where that runs on past its end."""
    rows = accepted(record, life)
    assert len(rows) >= 6
    for row in rows:
        assert abs(row["ours"] - row["engine_logged"]) < ROUNDING, row
        assert abs(row["ours"] - row["engine"]) <= LONGEST / row["verified"], row


def test_as_up_starts_it_the_last_steps_are_in_no_average(record: dict[str, Any]) -> None:
    """SGLang adds up every 40 steps."""
    rows = accepted(record, "as-shipped")
    assert len(rows) >= 6
    for row in rows:
        assert abs(row["ours"] - row["engine_logged"]) < ROUNDING, row
        left = row["verified"] % 40 + 1
        assert abs(row["ours"] - row["engine"]) <= LONGEST * left / row["verified"], row


def test_acceptance_was_there_to_be_counted_where_it_was_simulated_and_none_without_speculation(
    record: dict[str, Any],
) -> None:
    rows = accepted(record, "simulated")
    assert abs(sum(row["ours"] for row in rows) / len(rows) - SIMULATED) < 0.15
    assert len({row["ours"] for row in rows}) > 3
    assert not accepted(record, "plain")
