"""A process that runs implementations on its GPU: a line of JSON in, a line of JSON out. Ends with its input.

python -m deploy.tune.fused.gpu.worker PROBLEM, with a problem as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.tune.gpu.worker import LONGEST, POISONED, poisons
from deploy.tune.problem import problem_of

if TYPE_CHECKING:
    from deploy.tune.fused.gpu.bench import Bench


def answer(bench: Bench, request: Mapping[str, Any]) -> dict[str, Any]:
    """To `facts`: the GPU. To `check`: an implementation's error and table. To `time`: its seconds, a replay each."""
    if request.get("facts"):
        return bench.facts()
    name = request.get("check") or request["time"]
    if "folder" in request:
        bench.folders[name] = Path(request["folder"])
    if "check" in request:
        return {"error": bench.error(name, request["tokens"]), "table": bench.table(name)}
    return {"seconds": bench.time(name, request["tokens"], request["replays"])}


def told(bench: Bench, request: Mapping[str, Any]) -> dict[str, Any]:
    """An answer; what an implementation raises is one. What CUDA raises goes on."""
    try:
        return answer(bench, request)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:LONGEST]
        if poisons(text):
            raise
        return {"failed": text}


def main() -> int:
    """Answer until the input ends; after a fault say so and leave, since nothing after it could be believed."""
    problem = problem_of(json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Triton and PyTorch may print; only answers go to the parent

    from deploy.tune.fused.gpu.bench import Bench

    bench = Bench(problem)
    for line in sys.stdin:
        try:
            answers.write(json.dumps(told(bench, json.loads(line))) + "\n")
        except Exception as error:
            answers.write(json.dumps({"fault": f"{type(error).__name__}: {error}"[:LONGEST]}) + "\n")
            answers.flush()
            os._exit(POISONED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
