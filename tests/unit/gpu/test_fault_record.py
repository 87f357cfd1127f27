"""What the toolkit made of faults of real ranks keeps the bounds that it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RECORD = Path(__file__).resolve().parents[2] / "gpu" / "record" / "faults.json"
NOTICED, DOWN = 3.0, 10.0
# Rank 0 takes 20 s to say that it gets no answer from a frozen one.
ANSWER = 20.0

pytestmark = pytest.mark.skipif(not RECORD.exists(), reason="no record of faults yet: see tests/gpu/README.md")


@pytest.fixture
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


def test_the_record_is_of_the_real_engine_and_of_every_fault(record: dict[str, Any]) -> None:
    assert record["sglang"] != "stand-in"
    assert len(record["devices"]) >= 4
    kinds = [(one["fault"], one["phase"]) for one in record["faults"]]
    assert kinds == [("killed", "loading"), ("killed", "serving"), ("frozen", "serving")]
    assert record["refused_docker_calls"] == []


def test_a_killed_rank_was_noticed_within_3_s_and_all_were_down_within_10(record: dict[str, Any]) -> None:
    for one in record["faults"][:2]:
        assert one["noticed_s"] <= NOTICED
        assert one["down_s"] <= DOWN


def test_a_frozen_rank_was_noticed_by_its_bound_and_all_were_down_10_s_later(record: dict[str, Any]) -> None:
    frozen = record["faults"][2]
    assert frozen["noticed_s"] <= record["hang_seconds"] + ANSWER
    assert frozen["down_s"] - frozen["noticed_s"] <= DOWN


def test_nothing_was_left_and_the_user_was_told_which_rank_it_was(record: dict[str, Any]) -> None:
    for one in record["faults"]:
        assert one["orphans"] == 0
        assert None not in one["exits"]
        assert any(f"rank {one['rank']}" in text for _, _, text in one["said"])
    assert record["gpu_processes_left"] == 0
