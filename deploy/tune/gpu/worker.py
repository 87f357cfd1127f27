"""A process that times kernels on its GPU: a line of JSON in, a line of JSON out. Ends with its input.

python -m deploy.tune.gpu.worker SOURCE PROBLEM, with SGLang's module of the kernel and a problem as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.kernels.exact.kernel import Kernel
from deploy.tune.problem import Problem, problem_of
from deploy.tune.trial import Timing, Trial, timing_json, trial_of

if TYPE_CHECKING:
    from deploy.tune.gpu.bench import Bench

LONGEST = 500
"""Characters of an error that travel."""
POISONED = 3
"""Exit code after a fault from which a CUDA context does not recover, or for want of memory that a new one may have."""
_FAULTS = ("CUDA error", "CUDA driver error", "an illegal memory access", "device-side assert", "out of memory")


def poisons(text: str) -> bool:
    """Whether an error is a fault from which a CUDA context does not recover."""
    return any(mark in text for mark in _FAULTS)


def timed(bench: Bench, problem: Problem, trial: Trial, limit: float) -> Timing:
    """Make one trial. What Triton refuses is an answer; what CUDA raises goes on."""
    from deploy.tune.gpu.bench import HopelessError

    kernel = Kernel(trial.config, problem.shape, trial.gemm, trial.tokens, problem.filter_expert)
    began = bench.clock()
    try:
        if not trial.replays:
            return Timing(error=bench.error(kernel), gpu=bench.clock() - began)
        return Timing(tuple(bench.time(kernel, trial.replays, limit)), gpu=bench.clock() - began)
    except HopelessError as slow:
        return Timing(slow=True, first=slow.args[0], gpu=bench.clock() - began)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"[:LONGEST]
        if poisons(text):
            raise
        return Timing(failed=text, gpu=bench.clock() - began)


def answer(bench: Bench, problem: Problem, request: Mapping[str, Any]) -> dict[str, Any]:
    """To `facts`: the GPU and its ceilings. To a `trial`: its timing."""
    if request.get("facts"):
        return bench.facts()
    return timing_json(timed(bench, problem, trial_of(request["trial"]), request["limit"]))


def serve(begun: Callable[[], Callable[[Any], Mapping[str, Any]]], fault: str) -> int:
    """Answer until the input ends, by what `begun` makes; after a fault say so under that word and leave, since nothing
    after it could be believed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Triton, ptxas and PyTorch may print; only answers go to the parent
    answered = begun()
    for line in sys.stdin:
        try:
            answers.write(json.dumps(answered(json.loads(line))) + "\n")
        except Exception as error:
            answers.write(json.dumps({fault: f"{type(error).__name__}: {error}"[:LONGEST]}) + "\n")
            answers.flush()
            os._exit(POISONED)
    return 0


def begin() -> Callable[[Any], dict[str, Any]]:
    """The bench of the command line's source and problem, ready to answer."""
    source, told = sys.argv[1:]
    problem = problem_of(json.loads(told))
    if problem.emulation:
        os.environ["TRITON_OVERRIDE_ARCH"] = problem.emulation.lowering

    from deploy.tune.gpu.bench import Bench

    return partial(answer, Bench(Path(source), problem), problem)


if __name__ == "__main__":
    sys.exit(serve(begin, "failed"))
