"""What fits: the arithmetic against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploy.cluster.load import load
from deploy.cluster.spec import Cluster
from deploy.launch.doctor.fit import Fit, UnknownFitError, fit_of, fits, kv_per_token, reserve
from deploy.launch.sglang import server_flags
from tests.unit.launch.samples import GOLDEN, case, seen

GIB = 1 << 30
CLUSTER = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster
MODEL = seen(CLUSTER, 0).model
CONFIG = MODEL.config or {}


def flagged(**server: Any) -> Cluster:
    return CLUSTER.model_copy(update={"server": {name.replace("_", "-"): value for name, value in server.items()}})


def fit(available: float = 115.0, **server: Any) -> Fit:
    return fits(flagged(**server), MODEL, int(available * GIB), int(121.6 * GIB))


def test_glm_s_cache_takes_two_heads_of_92_layers_and_the_draft_s_one() -> None:
    assert kv_per_token(server_flags(CLUSTER), CONFIG) == 2 * 2 * 128 * 2 * 93 == 95_232
    plain = server_flags(flagged(speculative_algorithm=None))
    assert kv_per_token(plain, CONFIG) == 2 * 2 * 128 * 2 * 92


def test_an_eight_bit_cache_takes_half() -> None:
    assert kv_per_token(server_flags(flagged(kv_cache_dtype="fp8_e4m3")), CONFIG) == 95_232 // 2


def test_every_rank_has_at_least_one_kv_head() -> None:
    assert kv_per_token({"tp": 16}, CONFIG) == 2 * 1 * 128 * 2 * 92


def test_a_head_s_size_follows_from_the_hidden_size_where_it_is_not_told() -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    assert kv_per_token({}, config) == 2 * 4 * 16 * 2 * 2


def test_the_reserve_is_sglang_s_own() -> None:
    # 512 + 1.5 x 8192 + 2 x 512 + 4/8 x 1024 MiB, and 2 GiB for the draft.
    assert reserve(server_flags(CLUSTER)) == 14336 + 2048
    assert reserve({"tp": 1, "chunked-prefill-size": 2048}) == 10240


def test_weights_and_cache_share_what_the_reserve_leaves() -> None:
    found = fit()
    assert found.weights == 82 * GIB
    room = 115 * GIB * round(1 - 16 / 121.6, 3) - 82 * GIB
    assert found.tokens == pytest.approx(room / 95_232, abs=1)
    assert (found.largest_requests, found.largest_context) == (found.tokens // 32768, found.tokens // 64)


def test_a_fraction_that_is_given_is_taken() -> None:
    assert fit(mem_fraction_static=0.9).tokens == pytest.approx((0.9 * 115 - 82) * GIB / 95_232, abs=1)


def test_a_cap_on_all_tokens_is_kept() -> None:
    assert fit(max_total_tokens=5000).tokens == 5000


def test_more_memory_or_shorter_tokens_never_hold_less() -> None:
    for available in (100, 105, 110, 120):
        assert (
            fit(available).tokens <= fit(available + 1).tokens <= fit(available + 1, kv_cache_dtype="fp8_e5m2").tokens
        )


def test_what_is_not_reckoned_is_said() -> None:
    for server in ({"dp_size": 2}, {"enable_dp_attention": True}, {"quantization": "awq"}):
        with pytest.raises(UnknownFitError):
            fit(**server)
    for config in ({}, {**CONFIG, "kv_lora_rank": 512}, {**CONFIG, "torch_dtype": "int3"}):
        with pytest.raises(UnknownFitError):
            kv_per_token({}, config)


def test_the_node_with_the_least_memory_decides() -> None:
    whole = case(CLUSTER)
    poor = replace(whole.nodes[3], facts=replace(whole.nodes[3].facts, memory_available=110 * GIB))
    assert fit_of(replace(whole, nodes={**whole.nodes, 3: poor})).available == 110 * GIB
