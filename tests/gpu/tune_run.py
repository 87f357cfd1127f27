"""Runs `tune` and `tune compare` on this host's GPU as a user does, and Ray beside them; writes down what they said.

    python3 -m tests.gpu.tune_run --kernel FILE --python FOLDER --ray FOLDER [--seconds 300] OUT

FILE is SGLang's fused_moe_triton_kernels.py, and the folders hold the toolkit's libraries and Ray for this Python.
The GPU compiles GB10's lowering under GB10's limit. OUT/tune.json is written after every step; a step that fails or
takes too long does not keep the others from being tried.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.kernels.exact.source import MODULE
from deploy.kernels.table import Config
from deploy.store import cache
from tests.gpu import ray_run

ROOT = Path(__file__).resolve().parents[2]
SGLANG = "0.5.4.post2"
SIZES = ("16", "512", "4096")
MODEL = ("--local", "--emulate", "--model", "zai-org/GLM-4.7-FP8", "--tp-size", "4", "--batch-size", *SIZES)
SHIPPED = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
STORE = "    tl.store(c_ptrs, accumulator, mask=c_mask)\n"
"""How SGLang's kernel ends."""
FEW = (Config(16, 32, 64, 1, 4, 2), Config(16, 64, 128, 1, 4, 3), Config(16, 64, 256, 1, 4, 3),
       Config(16, 128, 128, 1, 4, 3))  # fmt: skip
KILL_AT = 600
"""Measurements after which the first run is killed."""
CHILDREN = (b"deploy.tune.gpu.worker", b"deploy.kernels.exact.worker")


@dataclass
class Run:
    """One run: where it writes, what its processes are told, when it must end (seconds since the epoch)."""

    out: Path
    environment: dict[str, str]
    end: float
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return max(self.end - time.time(), 1.0)

    @property
    def journal(self) -> Path:
        return self.out / "journal.jsonl"

    @property
    def tune(self) -> tuple[str, ...]:
        """The command line of the run that is killed and resumed."""
        return "tune", *MODEL, "--into", str(self.out / "tables"), "--journal", str(self.journal)

    def keep(self, name: str, told: Any) -> None:
        """Write the record as far as it goes."""
        self.record[name] = told
        print(name, json.dumps(told)[:2000], flush=True)
        (self.out / "tune.json").write_text(json.dumps(self.record, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.tune_run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kernel", type=Path, required=True, help=f"SGLang's {MODULE}")
    parser.add_argument(
        "--python", type=Path, required=True, help="the toolkit's libraries, as pack_nodes.py lays them"
    )
    parser.add_argument("--ray", type=Path, required=True, help="Ray and what it needs")
    parser.add_argument("--seconds", type=float, default=300, help="all is ended by then")
    parser.add_argument("--only-ray", action="store_true", help="Ray's part alone")
    return parser.parse_args()


def environment(asked: argparse.Namespace, work: Path) -> dict[str, str]:
    """With SGLang's module where the toolkit keeps it, and in a tree by SGLang's name for Ray's part."""
    kept = work / "cache" / cache().name / "sources" / f"sglang-{SGLANG}"
    tree = work / "tree" / "sglang"
    for folder in (kept, tree):
        folder.mkdir(parents=True)
        shutil.copy(asked.kernel, folder / MODULE)
    (tree / "__init__.py").touch()
    path = os.pathsep.join(map(str, (asked.python.resolve(), asked.ray.resolve(), work / "tree")))
    more = {"PYTHONPATH": path, "XDG_CACHE_HOME": str(work / "cache"), "PYTHONUNBUFFERED": "1"}
    return {"TRITON_CACHE_DIR": str(work / "triton"), **os.environ, **more}


def measurements(journal: Path) -> list[str]:
    """Whole lines of measurements."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [line for line in lines if line.startswith('{"trial"') and line.endswith("\n")]


def children() -> list[int]:
    """Ids of processes that time or compile, whoever's they are."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += [int(folder.name)] if any(word in CHILDREN for word in words) else []
    return found


def command(run: Run, *words: str) -> dict[str, Any]:
    """One command to its end: what it said, its exit code and seconds."""
    began = time.time()
    argv = [sys.executable, str(ROOT / "build-and-deploy.py"), *words]
    going = subprocess.Popen(
        argv, cwd=ROOT, env=run.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, said = going.communicate(timeout=run.left)
    except subprocess.TimeoutExpired:
        going.kill()
        out, said = going.communicate()
    code, seconds = going.returncode, round(time.time() - began, 1)
    return {"words": words, "code": code, "seconds": seconds, "stdout": out, "stderr": said}


def killed(run: Run) -> dict[str, Any]:
    """`tune`, killed by SIGKILL in the middle; what the journal has then, and when the last child was gone."""
    argv, began = [sys.executable, str(ROOT / "build-and-deploy.py"), *run.tune], time.time()
    with (run.out / "killed.txt").open("w") as said:
        going = subprocess.Popen(argv, cwd=ROOT, env=run.environment, stdout=said, stderr=said)
        while going.poll() is None and len(measurements(run.journal)) < KILL_AT and time.time() < run.end:
            time.sleep(0.02)
        alive = going.poll() is None
        going.send_signal(signal.SIGKILL)
        going.wait()
    struck = time.time()
    while children() and time.time() < struck + 20:
        time.sleep(0.05)
    return {
        "words": run.tune,
        "alive": alive,
        "seconds": round(struck - began, 1),
        "gone_after": round(time.time() - struck, 2),
        "left": children(),
        "measurements": len(measurements(run.journal)),
        "said": (run.out / "killed.txt").read_text(),
    }


def tables(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.rglob("*.json"))}


def resumed(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same command to its end, and once more."""
    before = measurements(run.journal)
    told = command(run, *run.tune)
    after, made = measurements(run.journal), tables(run.out / "tables")
    trials = [json.dumps(json.loads(line)["trial"], sort_keys=True) for line in after]
    kept = {"kept": after[: len(before)] == before, "twice": len(trials) - len(set(trials))}
    yield "resumed", {**told, **kept, "before": len(before), "measurements": len(after), "tables": made}
    again = command(run, *run.tune)
    same = tables(run.out / "tables") == made and measurements(run.journal) == after
    yield "again", {**again, "same": same}


def compared(run: Run) -> dict[str, Any]:
    """The table that ships against what was found just now."""
    found = next((run.out / "tables").rglob("E=160,N=384,*dtype=fp8_w8a8.json"))
    return command(run, "tune", "compare", SHIPPED, str(found), *MODEL)


def spoilt(kernel: str) -> str:
    """SGLang's module, made to compute wrong in one order of tiles and to write out of bounds with one width."""
    before, store, after = kernel.rpartition(STORE)
    wrong = "    if GROUP_SIZE_M == 16:\n        accumulator = (accumulator * 1.5).to(compute_type)\n"
    fault = "    if BLOCK_SIZE_N == 32:\n        c_ptrs = c_ptrs + (1 << 44)\n"
    return before + wrong + fault + store + after


def bad_kernels(run: Run, kernel: Path, work: Path) -> dict[str, Any]:
    """A search among few candidates, of which one ends its process and some are wrong."""
    kept = work / "spoilt" / cache().name / "sources" / f"sglang-{SGLANG}"
    kept.mkdir(parents=True)
    (kept / MODULE).write_text(spoilt(kernel.read_text()))
    (work / "few.json").write_text(json.dumps([one.as_json() for one in FEW]))
    apart = Run(run.out, {**run.environment, "XDG_CACHE_HOME": str(work / "spoilt")}, run.end)
    where = ("--into", str(work / "bad"), "--journal", str(run.out / "bad.jsonl"), "--configs", str(work / "few.json"))
    told = command(apart, "tune", *MODEL[: -len(SIZES)], SIZES[0], *where, "--json")
    failed = [one for one in map(json.loads, measurements(run.out / "bad.jsonl")) if one["timing"]["failed"]]
    return {**told, "failed": failed}


def commands(run: Run, kernel: Path, work: Path) -> None:
    """What needs no Ray."""
    try:
        run.keep("killed", killed(run))
        for name, told in resumed(run):
            run.keep(name, told)
        run.keep("compared", compared(run))
    except Exception as error:
        run.keep("error", f"{type(error).__name__}: {error}")
    try:
        run.keep("bad kernels", bad_kernels(run, kernel, work))
    except Exception as error:
        run.keep("bad error", f"{type(error).__name__}: {error}")


def main() -> None:
    """All steps; what each of them raised is in the record."""
    asked = arguments()
    work = asked.out / "work"
    work.mkdir(parents=True)
    run = Run(asked.out.resolve(), environment(asked, work.resolve()), time.time() + asked.seconds)
    if not asked.only_ray:
        commands(run, asked.kernel, work)
    run.keep("ray", ray_run.ran(asked.kernel, run.environment, run.end))
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
