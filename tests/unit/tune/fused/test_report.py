"""Results as text, JSON, CSV and a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from deploy.tune.fused.picture import draw
from deploy.tune.fused.report import COLUMNS, as_csv, as_json, as_text
from deploy.tune.fused.result import Cell, Results

NAMES = ("sglang", "vllm", "triton_kernels", "torch_compile")
FOUND = Results(NAMES, {"device": "a GPU"})
FOUND.cells = {
    8: {
        "sglang": Cell((10e-6, 11e-6, 12e-6), 0.004, "E=8.json"),
        "vllm": Cell((20e-6, 21e-6, 22e-6), 0.005),
        "triton_kernels": Cell((40e-6, 41e-6, 42e-6), 0.003),
        "torch_compile": Cell((90e-6, 91e-6, 92e-6), 0.006),
    },
    4096: {
        "sglang": Cell((50e-6, 51e-6, 52e-6), 0.004, "E=8.json"),
        "vllm": Cell((), None, "", failed="OutOfResources: shared memory\nmore"),
        "triton_kernels": Cell((30e-6, 31e-6, 32e-6), 0.003),
        "torch_compile": Cell((), skipped="gathers every token's experts: 204.0 GB of weights at 4096 tokens"),
    },
}


def test_the_table_has_a_line_a_size_and_says_who_is_fastest() -> None:
    lines = as_text(FOUND).splitlines()
    assert lines[1].split() == ["tokens", "SGLang", "vLLM", "triton_kernels", "torch.compile", "fastest"]
    assert lines[2].split() == ["8", "11.0", "±9.1%", "21.0", "±4.8%", "41.0", "±2.4%", "91.0", "±1.1%", "SGLang"]
    assert lines[3].split() == ["4096", "51.0", "±2.0%", "dropped", "31.0", "±3.2%", "-", "triton_kernels"]


def test_what_was_left_out_and_where_lines_cross_is_told_below() -> None:
    text = as_text(FOUND)
    assert "SGLang is faster up to 8 tokens, triton_kernels from 4096 on; their lines meet at" in text
    assert "torch.compile, from 4096 tokens: gathers every token's experts" in text
    assert "vLLM was dropped at 4096 tokens: OutOfResources: shared memory\n" in text + "\n"
    assert "SGLang: greatest error of a token against float32 0.40%; its table E=8.json" in text
    assert "vLLM: greatest error of a token against float32 0.50%; no table of its own" in text
    assert "triton_kernels: greatest error of a token against float32 0.30%\n" in text


def test_the_json_has_everything_in_seconds() -> None:
    told = json.loads(json.dumps(as_json(FOUND)))
    first, last = told["sizes"]
    assert first["cells"]["sglang"]["seconds"] == 11e-6
    assert first["cells"]["sglang"]["rounds"] == [10e-6, 11e-6, 12e-6]
    assert "seconds" not in last["cells"]["vllm"]
    assert (first["fastest"], last["fastest"]) == ("sglang", "triton_kernels")
    assert told["crossings"][0]["between"] == [8, 4096]


def test_the_csv_has_a_line_an_implementation_and_size() -> None:
    rows = list(csv.DictReader(as_csv(FOUND).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 8
    assert (rows[0]["median_us"], rows[0]["least_us"], rows[0]["fastest"]) == ("11.00", "10.00", "yes")
    assert (rows[5]["median_us"], rows[5]["why_not"]) == ("", "OutOfResources: shared memory more")


def test_the_picture_has_every_line_and_marks_the_crossing(tmp_path: Path) -> None:
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    for file in (one, other):
        draw(FOUND, "E=8, N=128", file)
    text = one.read_text()
    for word in ("SGLang", "vLLM", "triton_kernels", "torch.compile", "E=8, N=128", "SGLang | triton_kernels at"):
        assert f"<!-- {word}" in text
    assert one.read_bytes() == other.read_bytes()
