"""A process that runs implementations on its GPU: a line of JSON in, a line of JSON out. Ends with its input.

python -m deploy.tune.fused.gpu.worker PROBLEM, with a problem as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.tune.gpu.worker import LONGEST, poisons, serve
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


def begin() -> Callable[[Any], dict[str, Any]]:
    """The bench of the command line's problem, ready to answer."""
    problem = problem_of(json.loads(sys.argv[1]))

    from deploy.tune.fused.gpu.bench import Bench

    return partial(told, Bench(problem))


if __name__ == "__main__":
    sys.exit(serve(begin, "fault"))
