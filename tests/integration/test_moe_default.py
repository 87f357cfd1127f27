"""The default of the fused-MoE kernel on real, patched trees: it fits every device, and changes only where it did not.

torch and triton are stood in for: nothing is launched, a device is its properties.
"""

from __future__ import annotations

import importlib
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.inside import patch
from tests.integration.serving import imported
from tests.integration.trees import VERSIONS, unpack

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "sglang.srt.layers.moe.fused_moe_triton"
GB10, RTX_4090, RTX_3090 = ((99 * 1024, major) for major in (12, 8, 8))
T4, A100, H100, B200 = (64 * 1024, 7), (163 * 1024, 8), (227 * 1024, 9), (227 * 1024, 10)
DEVICES = (GB10, RTX_4090, RTX_3090, T4, A100, H100, B200)
DTYPES = ("fp8_w8a8", "int8_w8a8", "int8_w8a16", "int4_w4a16", "float32", None)
BLOCKS = (None, [128, 128], [64, 128], [128, 256], [256, 128], [32, 512])
BATCHES = [*range(1, 1025), *range(1025, 65537, 509), 65535, 65536]


class Kernel:
    """The module of one tree, and the device that it believes to run on; None: no CUDA at all."""

    def __init__(self) -> None:
        self.device: tuple[int | None, int] | None = GB10
        self.module = importlib.import_module(f"{PACKAGE}.fused_moe_triton_config")
        self.ours = importlib.import_module(f"{PACKAGE}.shared_memory")

    def on(self, device: tuple[int | None, int] | None) -> None:
        self.device = device
        self.ours._device.cache_clear()
        self.ours._tell.cache_clear()
        self.module.get_moe_configs.cache_clear()

    def properties(self, index: int) -> Any:
        assert self.device
        limit, major = self.device
        known = {"shared_memory_per_block_optin": limit} if limit else {}
        return SimpleNamespace(major=major, **known)

    def default(self, m: int, dtype: str | None, block: list[int] | None = None, experts: int = 160) -> dict[str, int]:
        return self.module.get_default_config(m, experts, 384, 5120, 8, dtype, False, block)

    def upstreams(
        self, m: int, dtype: str | None, block: list[int] | None = None, experts: int = 160
    ) -> dict[str, int]:
        return self.module.get_default_config.__wrapped__(m, experts, 384, 5120, 8, dtype, False, block)


@pytest.fixture(scope="module", params=VERSIONS)
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    tree = unpack(request.param, tmp_path_factory.mktemp("tree"))
    assert patch.main(["apply", str(tree), "--manifest", str(ROOT / "patches")]) == 0
    torch, triton, utils = types.ModuleType("torch"), types.ModuleType("triton"), types.ModuleType("sglang.srt.utils")
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(tree / PACKAGE.replace(".", "/"))]
    package.get_config = lambda: None  # type: ignore[attr-defined]
    triton.__version__ = "3.5.0"  # type: ignore[attr-defined]
    utils.get_device_name, utils.is_hip = lambda: "NVIDIA GB10", lambda: False  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torch", "triton")}
    with imported(tree):
        args = SimpleNamespace(enable_deterministic_inference=False)
        sys.modules["sglang.srt.server_args"].get_global_server_args = lambda: args  # type: ignore[attr-defined]
        sys.modules |= {"torch": torch, "triton": triton, "sglang.srt.utils": utils, PACKAGE: package}
        torch.dtype, torch.float = type, "float"  # type: ignore[attr-defined]
        torch.version = SimpleNamespace(hip=None)  # type: ignore[attr-defined]
        torch.cuda = SimpleNamespace(current_device=lambda: 0)  # type: ignore[attr-defined]
        made = Kernel()
        torch.cuda.is_available = lambda: made.device is not None  # type: ignore[attr-defined]
        torch.cuda.get_device_properties = made.properties  # type: ignore[attr-defined]
        yield made
    for name, module in before.items():
        sys.modules.pop(name)
        sys.modules |= {name: module} if module else {}


def bytes_needed(config: dict[str, int], dtype: str | None, block: list[int] | None, major: int) -> int:
    """The closed form once more, written apart from the one that is tested."""
    size = {"fp8_w8a8": 1, "int8_w8a8": 1, "float32": 4}.get(dtype or "", 2)
    m, n, k = config["BLOCK_SIZE_M"], config["BLOCK_SIZE_N"], config["BLOCK_SIZE_K"]
    stages, warps = config.get("num_stages", 3), config.get("num_warps", 4)
    bytes_ = (stages if major in (9, 10) else stages - 1) * size * (m * k + k * n)
    if block:
        bytes_ += max(4 * n * (n > block[0]), 4 * m * (m >= 32 * warps))
    return bytes_


def test_on_gb10_the_default_above_the_number_of_experts_loses_one_stage(kernel: Kernel) -> None:
    kernel.on(GB10)
    assert bytes_needed(kernel.upstreams(161, "fp8_w8a8"), "fp8_w8a8", None, 12) == 147_456
    assert kernel.default(161, "fp8_w8a8") == {**kernel.upstreams(161, "fp8_w8a8"), "num_stages": 3}
    assert bytes_needed(kernel.default(161, "fp8_w8a8"), "fp8_w8a8", None, 12) == 98_304
    assert kernel.default(160, "fp8_w8a8") == kernel.upstreams(160, "fp8_w8a8")


def test_sglangs_own_default_can_be_asked_for(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.on(GB10)
    monkeypatch.setenv("SGLANG_SPARK_MOE_DEFAULT", "upstream")
    assert kernel.default(161, "fp8_w8a8") == kernel.upstreams(161, "fp8_w8a8")
    monkeypatch.setenv("SGLANG_SPARK_MOE_DEFAULT", "")
    assert kernel.default(161, "fp8_w8a8") != kernel.upstreams(161, "fp8_w8a8")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_default_fits_and_is_upstreams_own_where_that_fits(
    kernel: Kernel, device: tuple[int, int], dtype: str | None, block: list[int] | None
) -> None:
    kernel.on(device)
    limit, major = device
    for m in BATCHES:
        config, upstreams = kernel.default(m, dtype, block), kernel.upstreams(m, dtype, block)
        assert bytes_needed(config, dtype, block, major) <= limit
        if bytes_needed(upstreams, dtype, block, major) <= limit:
            assert config == upstreams
        if block and dtype == "fp8_w8a8":
            assert block[1] % config["BLOCK_SIZE_K"] == 0


@pytest.mark.parametrize("device", [H100, B200])
@pytest.mark.parametrize("block", [None, [128, 128]])
def test_large_devices_see_no_change(kernel: Kernel, device: tuple[int, int], block: list[int] | None) -> None:
    kernel.on(device)
    for dtype in DTYPES:
        assert all(kernel.default(m, dtype, block) == kernel.upstreams(m, dtype, block) for m in BATCHES)


@pytest.mark.parametrize("device", [None, (None, 12)])
def test_where_no_limit_is_known_nothing_changes(kernel: Kernel, device: tuple[None, int] | None) -> None:
    kernel.on(device)
    assert kernel.default(4096, "fp8_w8a8") == kernel.upstreams(4096, "fp8_w8a8")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tile=st.tuples(*[st.sampled_from([16, 32, 64, 128, 256])] * 3),
    stages=st.integers(1, 6),
    warps=st.sampled_from([4, 8]),
    dtype=st.sampled_from(DTYPES),
    block=st.sampled_from(BLOCKS),
    limit=st.integers(16 * 1024, 256 * 1024),
)
def test_any_configuration_is_shrunk_until_it_fits_and_never_grows(
    kernel: Kernel, tile: Any, stages: int, warps: int, dtype: Any, block: Any, limit: int
) -> None:
    config = {**dict(zip(kernel.ours.TILE, tile, strict=True)), "num_stages": stages, "num_warps": warps}
    fitted = kernel.ours.shrunk(config, dtype, block, limit, False)
    smallest = {**config, **kernel.ours.SMALLEST, "num_stages": min(stages, 2)}
    if kernel.ours.needed(smallest, dtype, block, False) <= limit:
        assert kernel.ours.needed(fitted, dtype, block, False) <= limit
    assert all(fitted[name] <= config[name] for name in config)
    assert fitted == config or fitted["num_stages"] < stages or stages <= 2


def test_it_is_said_once_what_was_reduced_and_why(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    kernel.on(GB10)
    with caplog.at_level(logging.WARNING, logger=f"{PACKAGE}.shared_memory"):
        for m in (1, 161, 4096):
            kernel.default(m, "fp8_w8a8")
    assert len(caplog.messages) == 1
    assert "needs 147456 bytes of shared memory, and this device has 101376" in caplog.messages[0]
    assert "'num_stages': 3" in caplog.messages[0]


@pytest.mark.parametrize(("rows", "taken"), [(128, True), (64, False)])
def test_a_down_table_that_does_not_go_with_the_default_is_left_out(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, taken: bool
) -> None:
    kernel.on(GB10)
    monkeypatch.setenv("SGLANG_MOE_CONFIG_DIR", str(tmp_path))
    folder = tmp_path / "configs" / "triton_3_5_0"
    folder.mkdir(parents=True)
    name = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json"
    (folder / name).write_text(f'{{"1": {{"BLOCK_SIZE_M": {rows}, "num_stages": 2}}}}')
    found, (down, most) = kernel.module.try_get_optimal_moe_config(
        (160, 768, 5120), (160, 5120, 384), 8, "fp8_w8a8", 512, return_down_config=True
    )
    assert found == kernel.default(512, "fp8_w8a8")
    assert (down, most) == (({"BLOCK_SIZE_M": rows, "num_stages": 2}, rows) if taken else (None, None))
