"""What the tuner's commands did on a real GPU: killed and resumed, bad kernels, real Ray with its worker killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Record = dict[str, Any]
SIZES = [16, 512, 4096]


@pytest.fixture
def record(root: Path) -> Record:
    made: Record = json.loads((root / "tests/gpu/record/tune.json").read_text())
    assert "error" not in made
    assert "H100" in made["ray"]["facts"]["device"]
    return made


def test_a_killed_run_left_no_process_and_lost_no_measurement(record: Record) -> None:
    killed, resumed = record["killed"], record["resumed"]
    assert killed["alive"]
    assert killed["left"] == []
    assert killed["gone_after"] < 5
    assert resumed["words"] == killed["words"]
    assert (resumed["code"], resumed["before"], resumed["twice"]) == (0, killed["measurements"], 0)
    assert resumed["kept"]
    assert f"{resumed['before']} measurements of before" in "\n".join(resumed["stderr"])


def test_a_finished_run_measured_nothing_and_wrote_the_same_bytes(record: Record) -> None:
    assert record["again"]["code"] == 0
    assert record["again"]["same"]
    assert record["again"]["stdout"] == record["resumed"]["stdout"]
    assert f"{record['resumed']['measurements']} measurements of before, 0 sizes" in "\n".join(
        record["again"]["stderr"]
    )


def test_two_tables_were_told_apart_or_not_at_each_batch_size(record: Record) -> None:
    rows = [line.split() for line in record["compared"]["stdout"] if " both " in line]
    assert [int(row[0]) for row in rows] == SIZES
    assert record["compared"]["code"] == 0


def test_kernels_that_fault_or_compute_wrong_were_dropped_and_poisoned_nothing(record: Record) -> None:
    bad = record["bad kernels"]
    (size,) = bad["told"]["sizes"]
    assert bad["code"] == 0
    assert not bad["told"]["failed"]
    for one in size["dropped"]:
        wrong = one["GROUP_SIZE_M"] == 16
        assert one["why"].startswith("wrong: off by 0." if wrong else "AcceleratorError: CUDA error: an illegal memory")
        assert wrong or one["BLOCK_SIZE_N"] == 32
    assert {one["trial"]["config"]["block_n"] for one in bad["failed"]} == {32}
    for gemm in ("up", "down"):
        assert size[gemm]["error"] < 0.01
        assert (size[gemm]["BLOCK_SIZE_N"], size[gemm]["GROUP_SIZE_M"]) not in ((32, 1), (32, 16))
        assert size[gemm]["GROUP_SIZE_M"] != 16


def test_over_real_ray_a_killed_worker_s_batch_size_was_taken_over_where_it_was(record: Record) -> None:
    ray = record["ray"]
    assert (ray["code"], ray["twice"], ray["failed"]) == (0, 0, 0)
    (lost,) = ray["lost"]
    assert (lost["node"], lost["tokens"]) == ("worker 1", 512)
    assert ray["struck_at"] <= ray["by"]["worker 1"] < ray["by"]["worker 2"]
    assert sum(ray["by"].values()) == ray["measurements"]
    assert [(one["tokens"], one["failed"]) for one in ray["finished"]] == [(512, ""), (16, "")]
