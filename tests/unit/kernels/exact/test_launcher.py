"""Tensors without memory, and stand-ins that are asked for what they cannot give."""

from __future__ import annotations

import importlib
import sys

import pytest

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.launcher import ShapeOnly, StandIns, group_quant_fp8, launch, scaled_fp8_quant
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config


def test_a_tensor_without_memory_has_the_strides_of_a_contiguous_one() -> None:
    tensor = ShapeOnly("float8_e4m3fn", 160, 768, 5120)
    assert tensor.stride() == (768 * 5120, 5120, 1)
    assert tensor.stride(-2) == 5120
    assert tensor.numel() == 160 * 768 * 5120
    assert (str(tensor.dtype), tensor.dtype.itemsize) == ("torch.float8_e4m3fn", 1)
    assert tensor.data_ptr() % 512 == 0


def test_activations_get_a_scale_a_token_a_group_or_in_all() -> None:
    rows = ShapeOnly("bfloat16", 64, 5120)
    assert scaled_fp8_quant(rows, None, use_per_token_if_dynamic=True)[1].shape == (64, 1)
    assert scaled_fp8_quant(rows, None, use_per_token_if_dynamic=False)[1].shape == (1,)
    assert group_quant_fp8(rows, 128)[1].shape == (64, 40)


def test_a_name_without_a_stand_in_may_be_imported_but_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [StandIns(121), *sys.meta_path])
    for name in ("sglang", "sglang.srt", "sglang.srt.utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("sglang.srt.utils")
    try:
        assert (module.is_cuda(), module.is_sm90_supported()) == (True, False)
        with pytest.raises(TypeError, match="get_device_core_count has no stand-in"):
            module.get_device_core_count()
        with pytest.raises(TypeError, match="SOME_SETTING has no stand-in"):
            bool(module.SOME_SETTING)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "sglang"]:
            del sys.modules[name]


def test_tables_of_another_kernel_are_refused() -> None:
    four_bits = Kernel(Config(64, 128, 128, 1, 4, 4), Shape(160, 384, 5120, 8, "int4_w4a16"), "up", 1)
    with pytest.raises(ValueError, match="int4_w4a16 is served by another kernel"):
        launch(sys, four_bits)
