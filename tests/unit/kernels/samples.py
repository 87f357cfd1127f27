"""Tables for tests, and strategies that make them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from deploy.kernels.check import TableFile
from deploy.kernels.parse import parse
from deploy.kernels.table import Config, Table

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"
GOOD = {
    "BLOCK_SIZE_M": 16,
    "BLOCK_SIZE_N": 64,
    "BLOCK_SIZE_K": 128,
    "GROUP_SIZE_M": 1,
    "num_warps": 4,
    "num_stages": 4,
}
CRASHING = GOOD | {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "num_warps": 8}
"""SGLang's default above 160 tokens: 147,456 bytes."""

powers = st.sampled_from([16, 32, 64, 128, 256])
entries = st.builds(
    Config,
    block_m=powers,
    block_n=powers,
    block_k=powers,
    group_m=st.sampled_from([1, 16, 32, 64]),
    num_warps=st.sampled_from([1, 2, 4, 8, 16]),
    num_stages=st.integers(1, 6),
)
keys = st.one_of(st.integers(1, 64), st.integers(1, 5000), st.sampled_from([32768, 65535, 65536, 65537, 200_000]))
tables = st.dictionaries(keys, entries, min_size=1, max_size=20).map(Table)


def text(entries: dict[Any, Any]) -> str:
    return json.dumps(entries)


def of(table: Table) -> str:
    """A table as the file that it would be read from."""
    return json.dumps({str(key): config.as_json() for key, config in table.entries.items()})


def file(entries: dict[Any, Any], name: str = NAME, folder: str = "configs/triton_3_5_0") -> TableFile:
    """A table under a name, as if it had been read."""
    return TableFile(f"{folder}/{name}.json", parse(text(entries)))
