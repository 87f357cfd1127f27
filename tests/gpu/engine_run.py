"""Runs the real SGLang on the GPUs of this host, as `up` would start it, and writes the record of what it did.

    python3 -m tests.gpu.engine_run ARCHIVE LAUNCH.json OUT [--seconds 560] [--faults kill,stop]

LAUNCH.json holds what `up` gives: {"ranks": [{"rank": 0, "argv": [...], "env": {...}}]}.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests.gpu.adapt import Launch, adapted, changes
from tests.gpu.observe import Patience, observe
from tests.gpu.prepare import make_model, unpack

SGLANG = "0.5.14"
# The first start compiles kernels, and so does the first request.
FIRST = Patience(ready=280, answer=180, fall=25, leave=25)
AGAIN = Patience(ready=200, answer=90, fall=48, leave=25)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.engine_run")
    parser.add_argument("archive", type=Path)
    parser.add_argument("launch", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=560, help="no launch is begun that could outlast this")
    parser.add_argument("--faults", default="kill,stop")
    parser.add_argument("--work", type=Path, default=Path("/tmp/engine"), help="where the engine and the model lie")
    return parser.parse_args()


def device() -> list[str]:
    """Names of the GPUs."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def keep(record: dict[str, object], out: Path) -> None:
    """Write the record as far as it goes; a run cut short still leaves what it saw."""
    (out / f"{SGLANG}.json").write_text(json.dumps(record, indent=1) + "\n")


def pack_logs(folder: Path, out: Path) -> None:
    """One archive a launch, since only few files come back from some machines."""
    with tarfile.open(out / f"{folder.name}.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)


def cut(patience: Patience, left: float) -> Patience:
    """That patience, within the seconds that are left."""
    after = patience.fall + patience.leave
    return Patience(min(patience.ready, left - after), patience.answer, patience.fall, patience.leave)


def main() -> int:
    """Exit code 0 when every launch became ready."""
    given = arguments()
    began = time.monotonic()
    given.out.mkdir(parents=True, exist_ok=True)
    site, model = given.work / "site", given.work / "model"
    unpack(given.archive, site)
    make_model(model)
    asked = json.loads(given.launch.read_text())["ranks"]
    launches: list[Launch] = [adapted(rank, sys.executable, site, model) for rank in asked]
    lives: list[dict[str, object]] = []
    record: dict[str, object] = {
        "sglang": SGLANG,
        "devices": device(),
        "started": changes(asked[0], launches[0]),
        "lives": lives,
    }
    for number, fault in enumerate(given.faults.split(",")):
        left = given.seconds - (time.monotonic() - began)
        print(f"{fault}: {left:.0f} s left", flush=True)
        folder = given.work / f"logs-{fault}"
        lives.append(observe(launches, folder, fault, cut(AGAIN if number else FIRST, left)))
        keep(record, given.out)
        pack_logs(folder, given.out)
        print(json.dumps({key: value for key, value in lives[-1].items() if key != "ranks"}), flush=True)
    return 0 if all(life["ready"] for life in lives) else 1


if __name__ == "__main__":
    sys.exit(main())
