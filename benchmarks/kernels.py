"""What kernel checks cost, and whether the closed form is what the compiler says; changes nothing but a cache.

`benchmarks/kernels.py [--json] [--full]`, with the project's own Python.

`fast_s`: `kernels check` of every table in the wheel. `exact_cold_s`, `exact_cached_s`: `kernels check --exact` of one
table of 18 different entries, both GEMMs, with an empty cache of kernels and again; wheels and tools are there already.
`space`: kernels of which the compiler's bytes were compared with the closed form; `mismatches`: where they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy import store  # noqa: E402
from deploy.kernels.exact.kernel import Kernel  # noqa: E402
from deploy.kernels.exact.proof import Target  # noqa: E402
from deploy.kernels.exact.prove import How, Proofs, prove  # noqa: E402
from deploy.kernels.exact.space import BATCHES, GROUPS, space  # noqa: E402
from deploy.kernels.gpu import GB10, GPUS, Gpu  # noqa: E402
from deploy.kernels.memory import shared_memory  # noqa: E402
from deploy.kernels.shape import Shape  # noqa: E402

SEED, SAMPLE = 20, 60
SGLANG, TRITON = "0.5.4.post2", "3.5.0"
GLM = Shape(160, 384, 5120, 8, per_channel=True)
UP = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
COMPARED = (GB10, GPUS["H100"])
_SIZES = (GLM.experts, GLM.intermediate, GLM.hidden, GLM.top_k)
SHAPES = {
    "fp8, channel": GLM,
    "fp8, tensor": Shape(*_SIZES),
    "fp8, block": Shape(*_SIZES, block=(128, 128)),
    "bf16": Shape(*_SIZES, "bf16"),
    "int8, channel": Shape(*_SIZES, "int8_w8a8", per_channel=True),
    "int8, block": Shape(*_SIZES, "int8_w8a8", block=(128, 128)),
    "int8 weights": Shape(*_SIZES, "int8_w8a16"),
}


def kernels(gpu: Gpu, shape: Shape, full: bool) -> Iterator[Kernel]:
    """Both GEMMs over the tuner's space; GROUP_SIZE_M over all its values for the served model's up GEMM alone."""
    gemms: tuple[Literal["up", "down"], ...] = ("up", "down")
    for gemm in gemms:
        groups = GROUPS if full and (gpu, shape, gemm) == (GB10, GLM, "up") else GROUPS[:1]
        found = [Kernel(config, shape, gemm, 64) for config in space(shape.block[1] if shape.block else 0, groups)]
        yield from found if full else random.Random(SEED).sample(found, SAMPLE)


def compare(gpu: Gpu, shape: Shape, full: bool) -> dict[str, Any]:
    """How many kernels were compared, and each that differs: entry, GEMM, compiler's bytes, formula's."""
    asked = tuple(kernels(gpu, shape, full))
    found = _proofs(asked, Target(gpu, SGLANG, TRITON))
    wrong = [
        [proof.kernel.config.as_json(), proof.kernel.gemm, proof.finding and proof.finding.shared, said, proof.error]
        for proof in found.proofs
        if (said := shared_memory(proof.kernel.config, proof.kernel.matrices, gpu)) is not None
        and (proof.finding is None or proof.finding.shared != said)
    ]
    return {"compared": len(asked), "mismatches": wrong, "ptxas": found.toolchain.ptxas_version}


def _proofs(asked: tuple[Kernel, ...], target: Target) -> Proofs:
    events = prove(asked, target, How(only_shared=True))
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def fast(folder: Path) -> float:
    """Seconds for every table of the wheel, start of the process included."""
    import zipfile

    with zipfile.ZipFile(store.wheel("sglang", SGLANG)) as archive:
        tables = [name for name in archive.namelist() if "/configs/triton_" in name and name.endswith(".json")]
        archive.extractall(folder, tables)
    seconds, report = _timed("kernels", "check", str(folder), "--json")
    if len(report["tables"]) < len(tables):
        raise SystemExit(f"only {len(report['tables'])} of {len(tables)} tables were checked")
    return seconds


def exact(folder: Path) -> tuple[float, float]:
    """Seconds without and with a cache of kernels, for a table whose 18 entries all differ and fit."""
    home = folder / "sglang-spark"
    home.mkdir()
    for kept in ("wheels", "ptxas", "packages"):
        (store.cache() / kept).mkdir(parents=True, exist_ok=True)
        (home / kept).symlink_to(store.cache() / kept)
    table = folder / "triton_3_5_0" / UP
    table.parent.mkdir()
    fitting = [
        config
        for config in space()
        if shared_memory(config, GLM.gemms[0], GB10) <= GB10.shared_memory
        and config.block_m * config.block_n < 256 * 32 * config.num_warps
    ]
    entries = random.Random(SEED).sample(fitting, len(BATCHES))
    table.write_text(json.dumps({str(size): entry.as_json() for size, entry in zip(BATCHES, entries, strict=True)}))
    again: Callable[[], float] = lambda: _timed("kernels", "check", str(table), "--exact", "--json", cache=folder)[0]  # noqa: E731
    return again(), again()


def _timed(*words: str, cache: Path | None = None) -> tuple[float, dict[str, Any]]:
    environment = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
    command = [sys.executable, "build-and-deploy.py", *words]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    try:
        return round(seconds, 3), dict(json.loads(done.stdout))
    except ValueError:
        raise SystemExit(f"{' '.join(words)}: {done.stderr or done.stdout}") from None


def measure(full: bool) -> dict[str, Any]:
    """All figures, with the machine and the versions that they hold for."""
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        fast_s = fast(Path(one))
        cold, cached = exact(Path(two))
    start = time.perf_counter()
    by = {gpu.name: {name: compare(gpu, shape, full) for name, shape in SHAPES.items()} for gpu in COMPARED}
    every = [found for shapes in by.values() for found in shapes.values()]
    return {
        "fast_s": fast_s,
        "exact_cold_s": cold,
        "exact_cached_s": cached,
        "mismatches": sum(len(found["mismatches"]) for found in every),
        "space": sum(found["compared"] for found in every),
        "space_s": round(time.perf_counter() - start, 1),
        "full": full,
        "by": by,
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {load} busy at the start",
        "versions": {
            "sglang": SGLANG,
            "triton": TRITON,
            "ptxas": every[0]["ptxas"],
            "python": platform.python_version(),
        },
    }


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description="What kernel checks cost")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument(
        "--full", action="store_true", help="the tuner's whole space (tens of minutes), not a sample"
    )
    given = arguments.parse_args()
    figures = measure(given.full)
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        if name != "by":
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
