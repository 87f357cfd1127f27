"""The kernel tables that are shipped fit the GPU they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

GB10_BYTES = 101_376  # shared memory that a block may have
KEYS = {"BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages"}


def shared_bytes(entry: dict[str, int]) -> int:
    """Of the pipeline's buffers, at one byte a value (fp8)."""
    m, n, k = (entry[f"BLOCK_SIZE_{axis}"] for axis in "MNK")
    return (m * k + k * n) * (entry["num_stages"] - 1)


def test_the_formula_gives_what_the_crash_message_said() -> None:
    entry = {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "BLOCK_SIZE_K": 128, "num_stages": 4}
    assert shared_bytes(entry) == 147_456 > GB10_BYTES


def test_every_entry_fits_and_divides_the_shapes(root: Path) -> None:
    tables = list((root / "configs").glob("triton_*/*NVIDIA_GB10*.json"))
    assert tables
    for path in tables:
        table = json.loads(path.read_text())
        n = int(re.search(r"N=(\d+)", path.name)[1])  # type: ignore[index]
        for tokens, entry in table.items():
            assert set(entry) == KEYS, (path.name, tokens)
            assert shared_bytes(entry) <= GB10_BYTES, (path.name, tokens)
            assert n % entry["BLOCK_SIZE_K"] == 0, (path.name, tokens)
            assert all(value & (value - 1) == 0 for key, value in entry.items() if key != "num_stages")


def test_batch_sizes_ascend_and_cover_a_prefill(root: Path) -> None:
    for path in (root / "configs").glob("triton_*/*.json"):
        sizes = [int(size) for size in json.loads(path.read_text())]
        assert sizes == sorted(set(sizes))
        assert sizes[0] == 1
        assert sizes[-1] >= 4096


@pytest.mark.parametrize("folder", ["triton_3_5_0"])
def test_the_name_is_the_one_that_sglang_looks_for(root: Path, folder: str) -> None:
    names = {path.name for path in (root / "configs" / folder).iterdir()}
    assert names == {"E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"}
