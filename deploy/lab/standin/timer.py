"""A stand-in for the process that times kernels on a GPU: speaks its protocol, and works its timings out of the trial.

A line of JSON in, a line of JSON out, as deploy.tune.gpu.worker, which this takes the place of where the environment
says so (deploy/tune/device.py). The same trial has the same timing on every node. SGLANG_SPARK_STANDIN_DELAY: seconds
that a trial takes here. SGLANG_SPARK_STANDIN_GPUS: how many GPUs a node is said to have, 1 by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

BANDWIDTH, OPERATIONS = 2.4e11, 1.0e14
"""Bytes and operations a second of the GPU that is imagined."""
PROCESSORS = 48
TURNS = 16
NOISE = 0.004
Shape = Mapping[str, int]
Config = Mapping[str, int]
Trial = Mapping[str, Any]


def seconds(shape: Shape, trial: Trial, replay: int = 0) -> float:
    """A GEMM's seconds a call: the roofline of what its tiles really cover, their waves, and a little noise."""
    config: Config = trial["config"]
    rows: int = trial["tokens"] * shape["top_k"]
    n, k = _matrix(shape, trial["gemm"])
    experts = shape["experts"]
    met: float = experts * (1 - (1 - shape["top_k"] / experts) ** trial["tokens"])
    tiles = met * ceil(rows / met / config["block_m"]) * ceil(n / config["block_n"])
    covered = tiles * config["block_m"] * config["block_n"] * ceil(k / config["block_k"]) * config["block_k"]
    moved: float = met * n * k + rows * (k + 2 * n) * (1 + 0.2 / config["group_m"])
    slots = PROCESSORS * _resident(config)
    waves = ceil(tiles / slots) * slots / tiles
    busy = max(moved / BANDWIDTH * _latency(config), 2 * covered / OPERATIONS * _pace(config))
    return busy * (0.9 + 0.1 * min(waves, 4)) * (1 + NOISE * _noise(trial, replay)) + 4e-6


def _matrix(shape: Shape, gemm: str) -> tuple[int, int]:
    """Columns of the result, and the length of a product."""
    up = gemm == "up"
    return (2 * shape["intermediate"], shape["hidden"]) if up else (shape["hidden"], shape["intermediate"])


def _resident(config: Config) -> int:
    """Blocks that a multiprocessor holds at a time."""
    size = (config["block_m"] + config["block_n"]) * config["block_k"] * config["num_stages"]
    return max(1, min(101_376 // size, 48 // config["num_warps"]))


def _latency(config: Config) -> float:
    """How much longer reading takes than it might, with few loads in flight."""
    flight = config["block_n"] * config["block_k"] * (config["num_stages"] - 1) * _resident(config)
    return 1.02 + 0.5 * max(0.0, 1 - flight / 65_536)


def _pace(config: Config) -> float:
    """How much longer products take than they might, in small tiles or with too many warps for them."""
    tile = config["block_m"] * config["block_n"]
    return 1.1 + 4096 / tile + (0.15 if config["num_warps"] == 8 and tile < 8192 else 0.0)


def _noise(trial: Trial, replay: int) -> float:
    """Between -1 and 1, the same wherever the trial is made."""
    told = json.dumps([trial, replay], sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:4], "big") / 2**31 - 1


def timing(shape: Shape, trial: Trial, limit: float) -> dict[str, Any]:
    """What the real process answers to a trial."""
    answer = {"seconds": [], "gpu": 0.0, "slow": False, "first": 0.0, "error": None, "failed": ""}
    first = seconds(shape, trial)
    if not trial["replays"]:
        return {**answer, "error": 0.001 + 0.0005 * abs(_noise(trial, 0)), "gpu": first}
    if limit and first > limit:
        return {**answer, "slow": True, "first": first, "gpu": first}
    found = [seconds(shape, trial, replay) for replay in range(trial["replays"])]
    return {**answer, "seconds": found, "gpu": TURNS * sum(found)}


def facts(source: Path) -> dict[str, Any]:
    """What the real process answers to a question for facts, with the word stand-in in the device's name."""
    return {
        "device": "stand-in for an NVIDIA GB10",
        "stand_in": True,
        "capability": [12, 1],
        "gpus": int(os.environ.get("SGLANG_SPARK_STANDIN_GPUS", "1")),
        "processors": PROCESSORS,
        "driver": "stand-in",
        "torch": "stand-in",
        "triton": "stand-in",
        "cuda": "stand-in",
        "bandwidth": BANDWIDTH,
        "operations": OPERATIONS,
        "kernel": hashlib.sha256(source.read_bytes()).hexdigest(),
        "routing": "",
    }


def main() -> int:
    """Answer until the input ends."""
    source, told = sys.argv[1:]
    shape = json.loads(told)["shape"]
    delay = float(os.environ.get("SGLANG_SPARK_STANDIN_DELAY", "0"))
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("facts"):
            answer = facts(Path(source))
        else:
            time.sleep(delay)
            answer = timing(shape, request["trial"], request["limit"])
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
