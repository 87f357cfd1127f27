"""The tuner against SGLang's method, on one GPU: GPU time spent, and how much slower the chosen kernels are.

`benchmarks/tuner.py JOURNALS [--json]` tells what journals say, such as those in benchmarks/results/tuner/; no GPU is
needed. With `--measure SOURCE` they are made first, on a machine with a CUDA GPU, PyTorch and Triton: SOURCE is
SGLang's fused_moe_triton_kernels.py, and the GPU compiles GB10's lowering under GB10's shared memory.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.exhaustive import Truth, estimated, measure_all, truth  # noqa: E402
from deploy.kernels.exact.space import BATCHES  # noqa: E402
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
    "glm-4.7-fp8-tp4": Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True),
    "qwen3-30b-a3b-fp8-tp2": Shape(128, 384, 2048, 8, "fp8_w8a8", (128, 128)),
}
MEASURED = "1,16,64,512,4096"


def spent(known: Mapping[Trial, Timing], tokens: int) -> float:
    """GPU seconds of the search of one batch size."""
    return sum(one.gpu for trial, one in known.items() if trial.tokens == tokens and trial.stage != "truth")


def compared(name: str, found: Found, truths: Mapping[GemmName, Truth], seconds: float) -> dict[str, Any]:
    """One batch size: losses in the second pass, of our choice and of the first pass's winner (`noise`).

    `pair_loss` is against the best pair that SGLang could serve; `loss` against the GEMM's best with the BLOCK_SIZE_M
    that both must have, `loss_untied` with any.
    """
    chosen = {gemm: found.best[gemm].config for gemm in GEMMS}
    row: dict[str, Any] = {"shape": name, "tokens": found.tokens, "our_gpu_seconds": seconds}
    for gemm, every in truths.items():
        second = every.passes[1]
        least = min(second.values())
        row[gemm] = {
            "best_us": least * 1e6,
            "loss": second[chosen[gemm]] / _least(second, chosen[gemm].block_m) - 1,
            "loss_untied": second[chosen[gemm]] / least - 1,
            "noise": second[every.best(0)] / least - 1,
            "chosen": chosen[gemm].as_json(),
            "best": every.best(1).as_json(),
            "error": found.best[gemm].error,
            "candidates": len(second),
            "refused": len(every.refused),
        }
    rows = {config.block_m for config in truths["up"].passes[1]}
    pairs = [sum(_least(one.passes[1], tile) for one in truths.values()) for tile in rows]
    row["best_pair_us"] = min(pairs) * 1e6
    row["pair_loss"] = sum(truths[gemm].passes[1][chosen[gemm]] for gemm in GEMMS) / min(pairs) - 1
    row["sglang_gpu_seconds"] = sum(one.sglang_seconds for one in truths.values())
    return row


def _least(times: Mapping[Config, float], tile: int) -> float:
    return min(seconds for config, seconds in times.items() if config.block_m == tile)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The tuner against SGLang's method")
    parser.add_argument("journals", type=Path, help="a folder of journals, NAME.jsonl or NAME.jsonl.xz")
    parser.add_argument("--measure", type=Path, metavar="SOURCE", help="measure first what is not known, on this GPU")
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="measure these alone")
    parser.add_argument("--tokens", default=MEASURED, help="batch sizes to measure all candidates at")
    parser.add_argument("--sizes", default=",".join(map(str, BATCHES)), help="batch sizes to tune")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


def problem(name: str) -> Problem:
    return Problem(SHAPES[name], GB10, emulation=Emulation("sm121", GB10.shared_memory))


def measure(name: str, args: argparse.Namespace) -> None:
    """Our search of all sizes, as `tune --local` makes it, then every candidate at some."""
    device = Device(problem(name), args.measure, 90, os.cpu_count() or 1)
    journal = Journal(args.journals / f"{name}.jsonl", problem(name).as_json(), device.facts())
    task, began = Task(problem(name), numbers(args.sizes), Ceilings.of(journal.facts)), time.monotonic()
    try:
        for one in local.measured(task, task.sizes, device, journal.known):
            if isinstance(one, Measured):
                journal.add(one.trial, one.timing)
            elif isinstance(one, Finished):
                said = f"{one.tokens} tokens: {spent(journal.known, one.tokens):.2f} s of GPU time"
                print(f"{said}, {time.monotonic() - began:.0f} s in all", one.failed, file=sys.stderr, flush=True)
        for tokens in numbers(args.tokens):
            began = time.monotonic()
            measure_all(device, journal, problem(name), tokens)
            print(f"every candidate at {tokens} tokens: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        device.close()
        journal.close()


@contextmanager
def opened(folder: Path, name: str) -> Iterator[Journal | None]:
    """A journal to read; None where the folder has none of that shape."""
    with TemporaryDirectory() as temporary:
        path = folder / f"{name}.jsonl"
        packed = folder / f"{name}.jsonl.xz"
        if packed.exists():
            path = Path(temporary) / path.name
            path.write_bytes(lzma.decompress(packed.read_bytes()))
        if not path.exists():
            yield None
            return
        with closing(Journal(path, problem(name).as_json(), None)) as journal:
            yield journal


def evaluated(name: str, journal: Journal) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a journal says: a row for each size at which everything was measured, and the whole."""
    known = journal.known
    sizes = tuple(sorted({trial.tokens for trial in known if trial.stage != "truth"}))
    task = Task(problem(name), sizes, Ceilings.of(journal.facts))
    found = results(task, known).found
    rows = []
    for tokens in found:
        truths = {gemm: one for gemm in GEMMS if (one := truth(task.problem, known, tokens, gemm))}
        if len(truths) == len(GEMMS):
            rows.append(compared(name, found[tokens], truths, spent(known, tokens)))
    return rows, {"shape": name, **shape_json(task, journal, found)}


def main() -> None:
    """Measure where asked to; tell what the journals say."""
    args = options()
    for name in (args.shape or SHAPES) if args.measure else ():
        measure(name, args)
    rows: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for name in SHAPES:
        with opened(args.journals, name) as journal:
            if journal:
                more, shape = evaluated(name, journal)
                rows, shapes = [*rows, *more], [*shapes, shape]
    told = summary(rows, shapes)
    print(json.dumps(told, indent=1) if args.json else text(told))


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


def summary(rows: list[dict[str, Any]], shapes: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole comparison, its worst figures first."""
    for shape in shapes:
        _totalled(shape, [row for row in rows if row["shape"] == shape["shape"]])
    return {
        "gpu_seconds_ratio": min((shape["gpu_seconds_ratio"] for shape in shapes), default=None),
        "worst_loss": max((row["pair_loss"] for row in rows), default=None),
        "worst_gemm_loss": max((row[gemm]["loss"] for row in rows for gemm in GEMMS), default=None),
        "worst_noise": max((row[gemm]["noise"] for row in rows for gemm in GEMMS), default=None),
        "rows": rows,
        "shapes": shapes,
    }


def text(told: Mapping[str, Any]) -> str:
    """For people."""
    names = "".join(f"{name:>8}" for name in ("loss", "up", "down", "noise", "GPU s"))
    lines = [f"{'shape':<26}{'tokens':>7}{'best pair':>12}{names}{'ratio':>7}"]
    for row in told["rows"]:
        noise = max(row[gemm]["noise"] for gemm in GEMMS)
        losses = "".join(f"{one:>8.2%}" for one in (row["pair_loss"], *(row[gemm]["loss"] for gemm in GEMMS), noise))
        ratio = row["sglang_gpu_seconds"] / row["our_gpu_seconds"]
        spent_ = f"{row['our_gpu_seconds']:>8.1f}{ratio:>6.0f}x"
        lines.append(f"{row['shape']:<26}{row['tokens']:>7}{row['best_pair_us']:>9.1f} us{losses}{spent_}")
    for shape in told["shapes"]:
        ours, theirs = shape["our_gpu_seconds"], shape["sglang_gpu_seconds"]
        count = len(shape["both_sizes"])
        lines.append(f"{shape['shape']}, {count} sizes: {ours:.0f} s against {theirs:.0f} s: {theirs / ours:.0f}x")
    return "\n".join(lines)


def _totalled(shape: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """SGLang's seconds for all sizes: measured where everything was, else estimated from our first pass."""
    measured = {row["tokens"]: row["sglang_gpu_seconds"] for row in rows}
    estimated = shape["sglang_gpu_seconds_estimated"]
    shape["sglang_gpu_seconds"] = sum(measured.get(tokens, estimated[tokens]) for tokens in shape["both_sizes"])
    shape["gpu_seconds_ratio"] = shape["sglang_gpu_seconds"] / shape["our_gpu_seconds"]


if __name__ == "__main__":
    main()
