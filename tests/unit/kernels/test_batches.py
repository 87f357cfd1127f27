"""The batch sizes that settings make."""

from __future__ import annotations

from typing import Any

from deploy.cluster.spec import DEFAULT_SERVER
from deploy.kernels.batches import batches


def named(flags: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {one.name: one.sizes for one in batches(flags)}


def test_eagle_makes_draft_tokens_times_requests_and_top_k_times_requests() -> None:
    found = named(DEFAULT_SERVER)
    assert found["EAGLE verify, 8 draft tokens"] == tuple(range(8, 513, 8))
    assert found["EAGLE draft, top-k 2"] == tuple(range(2, 129, 2))
    assert found["EAGLE verify, captured"][:9] == (8, 16, 24, 32, 40, 48, 56, 64, 80)
    assert found["EAGLE verify, captured"][-1] == 512
    assert found["prefill"] == (1, 8192)


def test_without_eagle_a_batch_is_as_large_as_its_requests() -> None:
    found = named({"max-running-requests": 100, "chunked-prefill-size": 2048})
    assert found["decode"] == (1, 100)
    assert found["decode, captured"][:6] == (1, 2, 4, 8, 12, 16)
    assert found["decode, captured"][-2:] == (96, 100)
    assert found["prefill"] == (1, 2048)


def test_given_capture_sizes_are_taken_and_cut_off() -> None:
    assert named({"max-running-requests": 8, "cuda-graph-bs": [1, 4, 8, 16]})["decode, captured"] == (1, 4, 8)


def test_eagle_without_a_limit_has_sglangs_own() -> None:
    found = named({"speculative-algorithm": "EAGLE", "speculative-num-draft-tokens": 4})
    assert found["EAGLE verify, 4 draft tokens"][-1] == 48 * 4
    assert found["EAGLE draft, top-k 1"][-1] == 48
