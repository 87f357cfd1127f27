"""One rank of a timed all-gather over the fabric, as `python3 -m deploy.inside.bandwidth`; it prints a line of JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

MIB = 1 << 20
WARM_UP, ROUNDS = 5, 20
JOIN = 60
"""Seconds until all ranks must have met."""


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Seconds that one all-gather takes, of `bytes` on each rank once it is done."""
    torch = importlib.import_module("torch")
    torch.cuda.set_device(0)
    meet = {"init_method": f"tcp://{asked.address}:{asked.port}", "rank": asked.rank, "world_size": asked.ranks}
    torch.distributed.init_process_group("nccl", timeout=timedelta(seconds=JOIN), **meet)
    mine = torch.zeros(asked.mib * MIB // asked.ranks, dtype=torch.uint8, device="cuda")
    whole = torch.empty(mine.numel() * asked.ranks, dtype=torch.uint8, device="cuda")
    _rounds(torch, whole, mine, WARM_UP)
    seconds = _rounds(torch, whole, mine, ROUNDS) / ROUNDS
    torch.distributed.destroy_process_group()
    return {"bytes": whole.numel(), "seconds": seconds, "ranks": asked.ranks}


def _rounds(torch: Any, whole: Any, mine: Any, count: int) -> float:
    torch.distributed.barrier()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        torch.distributed.all_gather_into_tensor(whole, mine)
    torch.cuda.synchronize()
    return time.perf_counter() - began


def main(argv: list[str] | None = None) -> int:
    """0: measured, or torch is not there and the answer says so."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.inside.bandwidth", description=__doc__)
    for name in ("rank", "ranks", "port", "mib", "limit"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--address", required=True)
    asked = parser.parse_args(argv)
    # Whatever becomes of who started this: the kernel ends it.
    signal.alarm(asked.limit)
    if find_spec("torch") is None:
        print(json.dumps({"missing": "no torch in this image"}))
        return 0
    print("\n" + json.dumps(measure(asked)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
