"""The tuner against SGLang's method, on one GPU: GPU time spent, and how much slower the chosen kernels are.

`benchmarks/tuner.py SOURCE [--shape NAME] [--tokens 1,16,...] [--journal DIR] [--json] [--out FILE]`, on a machine with
a CUDA GPU, PyTorch and Triton; SOURCE is SGLang's fused_moe_triton_kernels.py. The GPU compiles GB10's lowering under
GB10's shared memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.kernels.exact.space import BATCHES, GROUPS  # noqa: E402
from deploy.kernels.gpu import GB10  # noqa: E402
from deploy.kernels.shape import Shape  # noqa: E402
from deploy.kernels.table import Config  # noqa: E402
from deploy.tune import local  # noqa: E402
from deploy.tune.device import Device  # noqa: E402
from deploy.tune.happening import Finished, Measured  # noqa: E402
from deploy.tune.journal import Journal  # noqa: E402
from deploy.tune.problem import Emulation, Problem  # noqa: E402
from deploy.tune.roofline import Ceilings, bound  # noqa: E402
from deploy.tune.search import GEMMS, Found  # noqa: E402
from deploy.tune.task import Task, results  # noqa: E402
from deploy.tune.trial import GemmName, Timing, Trial  # noqa: E402

SHAPES = {
    "GLM-4.7-FP8, TP 4": Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True),
    "Qwen3-30B-A3B-FP8, TP 2": Shape(128, 384, 2048, 8, "fp8_w8a8", (128, 128)),
}
SGLANG_CALLS = 151
"""Of each candidate: one to compile, ten in a graph that is played five times to warm up and ten to measure."""
MEASURED = (1, 16, 64, 512, 4096)
REPLAYS, HOPELESS = 3, 6.0


@dataclass
class Truth:
    """Every candidate of one GEMM and batch size, seconds a call, in two passes; of a hopeless one its first call."""

    passes: list[dict[Config, float]] = field(default_factory=list)
    refused: dict[Config, str] = field(default_factory=dict)

    def best(self, at: int) -> Config:
        return min(self.passes[at], key=self.passes[at].__getitem__)

    @property
    def sglang_seconds(self) -> float:
        """GPU seconds that SGLang's number of calls takes."""
        return SGLANG_CALLS * sum(self.passes[0].values())


def candidates(problem: Problem, gemm: GemmName) -> list[Config]:
    return [replace(one, group_m=group) for one in problem.candidates[gemm] for group in GROUPS]


def measured(device: Device, journal: Journal, problem: Problem, tokens: int, gemm: GemmName) -> Truth:
    """Two passes over everything that fits."""
    truth = Truth()
    every = candidates(problem, gemm)
    for number in range(2):
        trials = [Trial(tokens, gemm, one, "truth", number, REPLAYS) for one in every]
        device.prepare(trial for trial in trials if trial not in journal.known)
        found: dict[Config, float] = {}
        for trial in trials:
            timing = journal.known.get(trial)
            if timing is None:
                timing = device.time(trial, min(found.values(), default=0.0) * HOPELESS)
                journal.add(trial, timing)
            if timing.failed:
                truth.refused[trial.config] = timing.failed
            else:
                found[trial.config] = timing.first if timing.slow else timing.median
        truth.passes.append(found)
    return truth


def spent(known: Mapping[Trial, Timing], tokens: int) -> float:
    """GPU seconds of the search of one batch size."""
    return sum(one.gpu for trial, one in known.items() if trial.tokens == tokens and trial.stage != "truth")


def compared(name: str, found: Found, truths: Mapping[GemmName, Truth], seconds: float) -> dict[str, Any]:
    """One batch size: losses in the second pass, of our choice and of the first pass's winner."""
    chosen = {gemm: found.best[gemm].config for gemm in GEMMS}
    row: dict[str, Any] = {"shape": name, "tokens": found.tokens, "our_gpu_seconds": seconds}
    for gemm, truth in truths.items():
        second = truth.passes[1]
        least = min(second.values())
        row[gemm] = {
            "best_us": least * 1e6,
            "loss": second[chosen[gemm]] / least - 1,
            "noise": second[truth.best(0)] / least - 1,
            "chosen": chosen[gemm].as_json(),
            "best": truth.best(1).as_json(),
            "error": found.best[gemm].error,
            "candidates": len(second),
            "refused": len(truth.refused),
        }
    rows = {config.block_m for config in truths["up"].passes[1]}
    pairs = [sum(_least(one.passes[1], tile) for one in truths.values()) for tile in rows]
    row["pair_loss"] = sum(truths[gemm].passes[1][chosen[gemm]] for gemm in GEMMS) / min(pairs) - 1
    row["sglang_gpu_seconds"] = sum(one.sglang_seconds for one in truths.values())
    return row


def _least(times: Mapping[Config, float], tile: int) -> float:
    return min(seconds for config, seconds in times.items() if config.block_m == tile)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The tuner against SGLang's method")
    parser.add_argument("source", type=Path)
    parser.add_argument("--shape", action="append", choices=list(SHAPES))
    parser.add_argument(
        "--tokens", default=",".join(map(str, MEASURED)), help="batch sizes to measure all candidates at"
    )
    parser.add_argument("--sizes", default=",".join(map(str, BATCHES)), help="batch sizes to tune")
    parser.add_argument("--journal", type=Path, default=Path("tuner-journal"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def tuned(device: Device, journal: Journal, task: Task) -> tuple[Mapping[int, Found], float]:
    """Our search for all sizes, as `tune --local` makes it, and how long it took here and now."""
    began = time.monotonic()
    for one in local.measured(task, task.sizes, device, journal.known):
        if isinstance(one, Measured):
            journal.add(one.trial, one.timing)
        elif isinstance(one, Finished):
            said = f"{one.tokens} tokens: {spent(journal.known, one.tokens):.2f} s of GPU time"
            print(f"{said}, {time.monotonic() - began:.0f} s in all", one.failed, file=sys.stderr, flush=True)
    return results(task, journal.known).found, time.monotonic() - began


def main() -> None:
    """Tune, then measure everything, and print the comparison."""
    args = options()
    rows: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for name in args.shape or SHAPES:
        problem = Problem(SHAPES[name], GB10, emulation=Emulation("sm121", GB10.shared_memory))
        device = Device(problem, args.source, 90, os.cpu_count() or 1)
        journal = Journal(args.journal / f"{name}.jsonl", problem.as_json(), device.facts())
        ceilings = Ceilings(journal.facts["bandwidth"], journal.facts["operations"])
        task = Task(problem, tuple(int(one) for one in args.sizes.split(",")), ceilings)
        try:
            found, wall = tuned(device, journal, task)
            shapes.append({"shape": name, "our_wall_seconds": wall, **shape_json(task, journal, found)})
            for tokens in (int(one) for one in args.tokens.split(",") if one):
                began = time.monotonic()
                truths = {gemm: measured(device, journal, problem, tokens, gemm) for gemm in GEMMS}
                rows.append(compared(name, found[tokens], truths, spent(journal.known, tokens)))
                print(json.dumps(rows[-1]), f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
                save(args, rows, shapes)
        finally:
            device.close()
            journal.close()
    result = save(args, rows, shapes)
    brief = {key: value for key, value in result.items() if key not in ("rows", "shapes")}
    print(json.dumps(result, indent=1) if args.json else json.dumps(brief))


def shape_json(task: Task, journal: Journal, found: Mapping[int, Found]) -> dict[str, Any]:
    """What our search took and found, beside the bounds. The seconds are of the sizes that SGLang's tuner has too."""
    known, sizes, shape = journal.known, task.sizes, task.problem.shape
    both = [one for one in sizes if one in BATCHES]
    return {
        "facts": journal.facts,
        "sizes": sizes,
        "both_sizes": both,
        "our_gpu_seconds": sum(spent(known, one) for one in both),
        "our_trials": sum(one.stage != "truth" for one in known),
        "sglang_gpu_seconds_estimated": {one: estimated(one, known) for one in sizes},
        "bounds_us": {
            gemm.name: {one: bound(shape, gemm, one, task.ceilings) * 1e6 for one in sizes} for gemm in shape.gemms
        },
        "table": {
            tokens: {
                gemm: {**one.config.as_json(), "us": one.seconds * 1e6, "spread": one.spread}
                for gemm, one in each.best.items()
            }
            for tokens, each in found.items()
        },
        "dropped": [
            [tokens, gemm, config.as_json(), why]
            for tokens, each in found.items()
            for gemm, config, why in each.dropped
        ],
    }


def save(args: argparse.Namespace, rows: list[dict[str, Any]], shapes: list[dict[str, Any]]) -> dict[str, Any]:
    for shape in shapes:
        _totalled(shape, [row for row in rows if row["shape"] == shape["shape"]])
    result = {
        "gpu_seconds_ratio": min((shape["gpu_seconds_ratio"] for shape in shapes), default=None),
        "worst_loss": max((row["pair_loss"] for row in rows), default=None),
        "worst_gemm_loss": max((row[gemm]["loss"] for row in rows for gemm in GEMMS), default=None),
        "worst_noise": max((row[gemm]["noise"] for row in rows for gemm in GEMMS), default=None),
        "rows": rows,
        "shapes": shapes,
    }
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def _totalled(shape: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """SGLang's seconds for all sizes: measured where everything was, else estimated from our first pass."""
    measured = {row["tokens"]: row["sglang_gpu_seconds"] for row in rows}
    estimated = shape["sglang_gpu_seconds_estimated"]
    shape["sglang_gpu_seconds"] = sum(measured.get(tokens, estimated[tokens]) for tokens in shape["both_sizes"])
    shape["gpu_seconds_ratio"] = shape["sglang_gpu_seconds"] / shape["our_gpu_seconds"]


def estimated(tokens: int, known: Mapping[Trial, Timing]) -> float:
    """What SGLang's number of calls would take, from one call of every candidate with one GROUP_SIZE_M."""
    calls = [timing for trial, timing in known.items() if trial.tokens == tokens and trial.stage == "sift"]
    seconds = sum(one.first if one.slow else one.median for one in calls if one.slow or one.seconds)
    return SGLANG_CALLS * len(GROUPS) * seconds


if __name__ == "__main__":
    main()
