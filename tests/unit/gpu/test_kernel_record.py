"""What a real GPU made of SGLang's default, of the patched one, and of the tables that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels.parse import parse


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


def test_the_entries_that_ran_are_those_that_ship(root: Path, cells: list[dict[str, Any]]) -> None:
    name = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"
    for gemm, end in (("up", ""), ("down", "_down")):
        table = parse((root / "configs/triton_3_5_0" / f"{name}{end}.json").read_text())
        ran = {one["tokens"]: one["table"]["config"] for one in cells if one["gemm"] == gemm}
        assert ran == {tokens: table.entries[table.choose(tokens)].as_json() for tokens in ran}
