"""What a real GPU made of the implementations of several models' layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.layers import LAYERS, shown
from deploy.tune.fused.implementation import NAMES
from deploy.tune.fused.result import BOUNDS, PRECISE
from deploy.workflow.fused import ROUNDS, SIZES


def record(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / f"benchmarks/results/layers/{name}.json").read_text()))


@pytest.mark.parametrize("name", [layer[0] for layer in LAYERS])
def test_every_layer_has_all_sizes_and_what_was_timed_was_right(root: Path, name: str) -> None:
    told = record(root, name)
    assert tuple(size["tokens"] for size in told["sizes"]) == SIZES
    quantised = "fp8" in told["facts"]["title"]
    for size in told["sizes"]:
        cells = size["cells"]
        assert tuple(cells) == NAMES
        assert not [cell for cell in cells.values() if cell["failed"]]
        timed = {key: cell for key, cell in cells.items() if cell["rounds"]}
        assert {"sglang", "vllm"} <= set(timed)
        assert ("triton_kernels" in timed) != quantised
        assert all(len(cell["rounds"]) == ROUNDS for cell in timed.values())
        assert all(cell["error"] <= (BOUNDS["fp8_w8a8"] if quantised else PRECISE) for cell in timed.values())


def test_a_record_is_shown_as_the_command_shows_it(root: Path) -> None:
    text = shown(root / "benchmarks/results/layers/gpt-oss-tp8.json")
    assert "SGLang is faster up to 16 tokens, triton_kernels from 32 on; their lines meet at 29" in text
    assert "\n    8192  1773.5 ±0.1%  1769.7 ±0.1%    1029.7 ±0.1%" in text
