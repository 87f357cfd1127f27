"""A stand-in for the process that compiles kernels: speaks its protocol, compiles nothing, and refuses what cannot fit.

A line of JSON in, a line of JSON out, as deploy.kernels.exact.worker, which this takes the place of where the
environment says so (deploy/tune/device.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def answer(request: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Bytes that the tiles in flight would take, and a refusal where the GPU has not so many."""
    config = request["kernel"]["config"]
    tiles = (config["block_m"] + config["block_n"]) * config["block_k"]
    shared = tiles * max(config["num_stages"] - 1, 1)
    refusal = f"out of resource: shared memory, Required: {shared}, Hardware limit: {limit}" if shared > limit else ""
    found = {"shared": shared, "registers": None, "spilled": None, "instructions": []}
    return {**found, "refusal": refusal, "seconds": 0.0}


def main() -> int:
    """Answer until the input ends."""
    limit = int(sys.argv[3])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), limit)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
