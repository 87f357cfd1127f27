"""Runs SGLang's fused-MoE kernel on this host's GPU with GB10's lowering and limit, and writes down what it did.

    TRITON_OVERRIDE_ARCH=sm121 python3 -m tests.gpu.kernel_run --stock TREE --patched TREE --tables FOLDER --out FILE

For GLM-4.7-FP8 at TP=4 and each batch size: SGLang's default, the patched tree's default, and the table that we ship.
The GPU is not a GB10: what runs and is right there is shown, not how fast it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from triton.runtime.errors import OutOfResources

from deploy.tune.gpu import routing
from deploy.tune.gpu.bench import limit_shared_memory
from deploy.tune.gpu.routing import Routing
from tests.gpu import moe

EXPERTS, WIDTH, HIDDEN, TOP_K = 160, 384, 5120, 8
LIMIT = 101_376
TOKENS = (1, 2, 8, 64, 128, 160, 161, 512, 2048, 8192)
NAME = f"E={EXPERTS},N={WIDTH},device_name=NVIDIA_GB10,dtype=fp8_w8a8"
Config = dict[str, Any]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.kernel_run")
    parser.add_argument("--stock", type=Path, required=True, help="a tree as PyPI has it")
    parser.add_argument("--patched", type=Path, required=True, help="the same tree, patched")
    parser.add_argument("--tables", type=Path, required=True, help="the folder of the tables")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def default(config: ModuleType, tokens: int) -> Config:
    """What this tree takes where no table matches."""
    with moe.told_gb10(LIMIT):
        chosen: Config = config.get_default_config(tokens, EXPERTS, WIDTH, HIDDEN, TOP_K, "fp8_w8a8", False, None)
    return chosen


def from_table(path: Path, tokens: int) -> Config:
    """The entry that SGLang takes: the nearest, the first of two as near."""
    table = {int(size): entry for size, entry in json.loads(path.read_text()).items()}
    entry: Config = table[min(table, key=lambda size: abs(size - tokens))]
    return entry


def tried(kernels: ModuleType, config: Config, gemm: tuple[torch.Tensor, moe.Weights, Routing]) -> dict[str, Any]:
    """What Triton refused, or the greatest error against plain arithmetic over the greatest value."""
    rows, weights, batch = gemm
    try:
        out = moe.run(kernels, config, rows, weights, batch)
    except OutOfResources as error:
        return {"config": config, "refused": str(error)}
    some = torch.randperm(out.shape[0], device="cuda")[:64]
    wanted = moe.expected(rows, weights, batch, some)
    error = ((out[some].float() - wanted).abs().max() / wanted.abs().max()).item()
    return {"config": config, "error": round(error, 5)}


def gemms(tokens: int, up: moe.Weights, down: moe.Weights) -> Iterator[tuple[str, tuple[Any, moe.Weights, Routing]]]:
    """Both products of one batch, on random rows."""
    batch = routing.random(tokens, EXPERTS, TOP_K)
    yield "up", (torch.randn(tokens, HIDDEN, device="cuda", dtype=torch.bfloat16), up, batch)
    yield "down", (torch.randn(tokens * TOP_K, WIDTH, device="cuda", dtype=torch.bfloat16), down, batch)


def main() -> None:
    """Write the record; exit code 1 where the patched default or a table was refused or wrong."""
    asked = arguments()
    torch.manual_seed(0)
    limit_shared_memory(LIMIT)
    _, stock = moe.load(asked.stock)
    kernels, patched = moe.load(asked.patched)
    up, down = moe.Weights.random(EXPERTS, 2 * WIDTH, HIDDEN), moe.Weights.random(EXPERTS, HIDDEN, WIDTH)
    cells, bad = [], 0
    for tokens in TOKENS:
        for name, gemm in gemms(tokens, up, down):
            table = asked.tables / f"{NAME}{'_down' if name == 'down' else ''}.json"
            table = table if table.exists() else asked.tables / f"{NAME}.json"
            cell = {
                "stock default": tried(kernels, default(stock, tokens), gemm),
                "patched default": tried(kernels, default(patched, tokens), gemm),
                "table": tried(kernels, from_table(table, tokens), gemm),
            }
            bad += sum(one.get("error", 1) > 0.02 for kind, one in cell.items() if kind != "stock default")
            print(tokens, name, json.dumps(cell), flush=True)
            cells.append({"tokens": tokens, "gemm": name, **cell})
    record = {"gpu": torch.cuda.get_device_name(), **moe.VERSIONS, "limit": LIMIT, "bad": bad, "cells": cells}
    asked.out.write_text(json.dumps(record, indent=1) + "\n")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
