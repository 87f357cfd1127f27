"""What a real GPU made of the kernels speaks of the tables that are shipped now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels.parse import parse

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"


@pytest.fixture
def cells(root: Path) -> list[dict[str, Any]]:
    record = json.loads((root / "tests/gpu/record/kernels.json").read_text())
    assert record["limit"] == 101_376
    return list(record["cells"])


def test_sglang_s_own_default_was_refused_above_160_tokens_alone(cells: list[dict[str, Any]]) -> None:
    refused = {one["tokens"]: one["stock default"].get("refused", "") for one in cells}
    assert [tokens for tokens, why in refused.items() if why] == [tokens for tokens in refused if tokens > 160]
    assert all("Required: 147456, Hardware limit: 101376" in why for why in refused.values() if why)


def test_the_patched_default_and_the_tables_computed_right(cells: list[dict[str, Any]]) -> None:
    assert all(one[kind]["error"] < 0.01 for one in cells for kind in ("patched default", "table"))


def test_the_record_is_of_the_tables_as_they_are(cells: list[dict[str, Any]], root: Path) -> None:
    for one in cells:
        path = root / "configs/triton_3_5_0" / f"{NAME}{'_down' if one['gemm'] == 'down' else ''}.json"
        table = parse(path.read_bytes(), path.name)
        entry = table.entries[table.choose(one["tokens"])]
        assert entry.as_json() == one["table"]["config"], (path.name, one["tokens"])
