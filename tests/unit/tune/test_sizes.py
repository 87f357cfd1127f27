"""Batch sizes to tune, from a server's settings."""

from __future__ import annotations

from deploy.kernels.exact.space import BATCHES
from deploy.tune.sizes import sizes

EAGLE = {
    "speculative-algorithm": "EAGLE",
    "speculative-num-draft-tokens": 8,
    "speculative-eagle-topk": 1,
    "max-running-requests": 64,
}


def test_a_plain_server_adds_its_largest_prefill_and_a_batch_that_is_far_from_all() -> None:
    assert sizes({}) == tuple(sorted((*BATCHES, 12, 184, 368, 8192)))


def test_speculation_adds_what_no_size_is_near() -> None:
    added = set(sizes(EAGLE)) - set(BATCHES)
    assert any(128 < one < 256 for one in added)
    assert any(256 < one < 512 for one in added)
    assert 8192 in added
    verified = range(8, 513, 8)
    assert all(min(max(one, size) / min(one, size) for one in sizes(EAGLE)) <= 1.34 for size in verified)


def test_sizes_ascend_and_occur_once() -> None:
    found = sizes(EAGLE)
    assert list(found) == sorted(set(found))
