"""Weights loaded by a real, patched SGLang tree: the adaptive layer's views are what SGLang's own layer has."""

from __future__ import annotations

from typing import Any
from unittest import mock

from tests.integration.adaptive_parts import THRESHOLD, asked, layer


def a_loaded_layer_views_as_sglangs_own_has_its_weights() -> None:
    """Each rank of one and of two; expert by expert, as Mixtral is loaded."""
    shapes = (("w13", "w1", (32, 64)), ("w13", "w3", (32, 64)), ("w2", "w2", (64, 32)))
    for ranks, rank in ((1, 0), (2, 0), (2, 1)):
        stock, one = both(ranks, rank)
        for name, shard, shape in shapes:
            load(stock, one, f"{name}_weight", shape, shard, 3)
        assert_alike(stock, one, 3)


def a_layer_loaded_with_all_experts_at_once_views_as_sglangs_own_has_its_weights() -> None:
    """As gpt-oss is loaded, whose model file hands its weights over transposed, and biases with them."""
    shapes = {
        "w13_weight": (8, 64, 64),
        "w13_weight_bias": (8, 64),
        "w2_weight": (8, 64, 32),
        "w2_weight_bias": (8, 64),
    }
    swiglu = {"gemm1_alpha": 1.702, "gemm1_clamp_limit": 7.0, "with_bias": True, "use_weight_loader_fused": True}
    for ranks, rank in ((1, 0), (2, 0), (2, 1)):
        stock, one = both(ranks, rank, **swiglu)
        for name, shape in shapes.items():
            load(stock, one, name, shape, name.partition("_")[0])
        for expert in range(8):
            assert_alike(stock, one, expert)


def both(ranks: int, rank: int, **given: Any) -> tuple[Any, Any]:
    """A layer of SGLang's own and an adaptive one, as a rank of a tensor-parallel group has them."""
    from sglang.srt.layers.moe.fused_moe_triton import layer as module

    with (
        mock.patch.object(module, "get_moe_tensor_parallel_world_size", return_value=ranks),
        mock.patch.object(module, "get_moe_tensor_parallel_rank", return_value=rank),
    ):
        with asked(None):
            stock = layer(**given)
        with asked(THRESHOLD):
            return stock, layer(**given)


def load(stock: Any, one: Any, name: str, shape: tuple[int, ...], *shard: Any) -> None:
    """The same random weight into both, by their own loaders."""
    import torch

    loaded = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).bfloat16()
    for each in (stock, one):
        weight = getattr(each, name)
        weight.weight_loader(weight, loaded.clone(), name, *shard)


def assert_alike(stock: Any, one: Any, expert: int) -> None:
    """Views and biases of an adaptive layer are the weights of SGLang's own."""
    import torch

    views, _ = one.quant_method.adaptive._weights(one)
    for ours, own in ((views.w13_weight, stock.w13_weight), (views.w2_weight, stock.w2_weight)):
        assert ours.shape == own.shape
        assert own[expert].abs().sum() > 0
        assert torch.equal(ours[expert], own[expert])
    for ours, name in ((views.b13, "w13_weight_bias"), (views.b2, "w2_weight_bias")):
        own = getattr(stock, name, None)
        assert (ours is None) == (own is None)
        assert own is None or torch.equal(ours[expert], own[expert])


CHECKS = (
    a_loaded_layer_views_as_sglangs_own_has_its_weights,
    a_layer_loaded_with_all_experts_at_once_views_as_sglangs_own_has_its_weights,
)
