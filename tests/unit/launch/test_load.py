"""The load that rank 0 tells, in the words of each SGLang; and watts."""

from __future__ import annotations

import json

import pytest

from deploy.launch.load import BATCHES, Load, Sample, read, watts

OLD = [{"dp_rank": None, "num_reqs": 5, "num_waiting_reqs": 2, "num_tokens": 812}]
NEW = {
    "timestamp": "t",
    "loads": [{"dp_rank": 0, "num_running_reqs": 3, "num_waiting_reqs": 2, "num_used_tokens": 812}],
}


@pytest.mark.parametrize(("path", "body"), [("/get_load", OLD), ("/v1/loads", NEW)])
def test_both_ways_to_say_it_are_read(path: str, body: object) -> None:
    assert read(path, json.dumps(body)) == Load(path, 3, 2, 812)


def test_data_parallel_ranks_are_added_up() -> None:
    assert read("/get_load", json.dumps([OLD[0], OLD[0]])) == Load("/get_load", 6, 4, 1624)


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", "[1]", '{"loads": [{}]}', '{"detail": "Not Found"}'])
def test_anything_else_is_no_load(body: str) -> None:
    assert read("/get_load", body) is None


def test_requests_are_those_that_run_or_wait() -> None:
    assert Sample(0, Load("/get_load", 3, 2, 1)).requests == 5
    assert Sample(0, None).requests == 0


def test_watts_of_each_gpu_that_says_them() -> None:
    assert watts(" 12.34\n31\n[N/A]\n[Unknown Error]\nFailed to initialize NVML\n") == (12.34, 31.0)


def test_a_batch_is_known_by_its_line() -> None:
    assert BATCHES.search("[2026-01-01 00:00:00 TP0] Decode batch, #running-req: 1, #token: 64,")
    assert BATCHES.search("Prefill batch, #new-seq: 1")
    assert not BATCHES.search("The server is fired up and ready to roll!")
