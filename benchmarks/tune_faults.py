"""The tuner under faults: runs of `tune` on a lab with real Ray, in each of which somebody is killed at a random point.

`benchmarks/tune_faults.py [--runs 20] [--seed N] [--json] [--out FILE]`, with the project's own Python. Needs root and
a Docker Engine. A process that works timings out of the trials stands in for each GPU. A worker's or the head's
container is killed, or the controller by SIGKILL, which is then run again. Exit code 1 where a run has another answer
than one node alone, where a measurement is lost or made twice, or where anything is left on a node.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.campaign.client import until  # noqa: E402
from benchmarks.campaign.lane import Lane, LaneError, machine  # noqa: E402
from benchmarks.campaign.tuned import DELAY, SECONDS, SIZES, Answer, Tuner, measurements  # noqa: E402

METHOD = (
    "each run: `tune` on the lab's nodes; once a random share of its measurements is in the journal, or in its start, "
    "a worker's or the head's container is killed by its node's engine, or the controller by SIGKILL and then run "
    "again; tables and journal against those of one node alone; containers, processes, ports and locks on the nodes "
    "past the tool"
)
VICTIMS = ("worker", "head", "controller")
START = 15.0
"""Seconds of the start in which a run may be struck before it has measured anything."""
GONE = 30.0
"""Seconds within which nothing may be left after the controller's end: a node waits 20 s for a silent one."""


@dataclass
class Run:
    """What came of one run; `wrong` is empty where all is as it must be. Times in seconds."""

    number: int
    victim: str
    struck_at: int = 0
    """Measurements in the journal at which the blow was due."""
    struck_after: float = 0.0
    seconds: float = 0.0
    gone_after: float = 0.0
    measurements: int = 0
    before_the_end: int = 0
    """Of a killed controller: measurements that its journal had."""
    wrong: list[str] = field(default_factory=list)


def judged(told: Answer, one_node: Answer, before: list[str]) -> Iterator[str]:
    """What is not as it must be."""
    if told.tables != one_node.tables:
        yield "the tables are not those of one node alone"
    trials = [json.dumps(json.loads(line)["trial"], sort_keys=True) for line in told.trials]
    if len(set(trials)) != len(trials):
        yield f"{len(trials) - len(set(trials))} measurements are in the journal twice"
    if sorted(told.trials) != sorted(one_node.trials):
        yield f"{len(set(told.trials) ^ set(one_node.trials))} measurements are not those of one node alone"
    if told.trials[: len(before)] != before:
        yield "measurements of before the kill are lost"


def play(tuner: Tuner, run: Run, dice: random.Random, one_node: Answer) -> None:
    """One run with its fault."""
    name = f"run{run.number}"
    began = time.monotonic()
    client = tuner.start(name, tuner.lane.count)
    if not run.struck_at:
        time.sleep(dice.uniform(0, START))
    until(lambda: len(measurements(tuner.journal(name))) >= run.struck_at or not client.running, SECONDS)
    time.sleep(dice.uniform(0, 1))
    run.struck_after = round(time.monotonic() - began, 1)
    run.victim = tuner.kill(run.victim, client, dice) or f"{run.victim}, too late"
    before: list[str] = []
    if run.victim == "controller":
        struck = time.monotonic()
        if not until(lambda: not tuner.left(), GONE):
            run.wrong.append(f"{GONE:g} s after the controller's end: {'; '.join(tuner.left())}")
        run.gone_after = round(time.monotonic() - struck, 1)
        before = measurements(tuner.journal(name))
        run.before_the_end = len(before)
        client = tuner.start(name, tuner.lane.count)
    if why := tuner.finished(client):
        run.wrong.append(why)
    run.seconds = round(time.monotonic() - began, 1)
    if not until(lambda: not tuner.left(), 5):
        run.wrong.append(f"left: {'; '.join(tuner.left())}")
    told = tuner.answer(name)
    run.measurements = len(told.trials)
    run.wrong += judged(told, one_node, before)


def campaign(tuner: Tuner, count: int, dice: random.Random) -> dict[str, Any]:
    """All runs, after one on a single node and an undisturbed one on all. Raises LaneError where these fail."""
    if why := tuner.finished(tuner.start("one", 1)):
        raise LaneError(why)
    one_node = tuner.answer("one")
    began = time.monotonic()
    whole = Run(0, "nobody", measurements=len(one_node.trials))
    if why := tuner.finished(tuner.start("all", tuner.lane.count)):
        raise LaneError(why)
    whole.seconds = round(time.monotonic() - began, 1)
    whole.wrong += judged(tuner.answer("all"), one_node, [])
    runs = [whole]
    for number in range(1, count + 1):
        share = max(dice.uniform(-0.2, 0.97), 0)
        run = Run(number, VICTIMS[number % len(VICTIMS)], int(share * len(one_node.trials)))
        play(tuner, run, dice, one_node)
        runs.append(run)
        print(f"run {number}: {run.victim} after {run.struck_after} s, {run.seconds} s in all: "
              f"{'; '.join(run.wrong) or 'as it must be'}", file=sys.stderr)  # fmt: skip
        if not until(lambda: not tuner.left(), GONE):
            tuner.lane.clean()
    good = sum(not run.wrong for run in runs)
    return {"runs": [asdict(run) for run in runs], "good": good, "measurements": len(one_node.trials)}


@contextmanager
def opened(subnet: str, nodes: int) -> Iterator[Tuner]:
    folder = Path(tempfile.mkdtemp(prefix="sglang-spark-tune-faults-"))
    lane = Lane(folder / "lab", subnet, nodes)
    tuner = Tuner(lane, folder)
    try:
        tuner.open()
        yield tuner
    finally:
        lane.close()
        shutil.rmtree(folder, ignore_errors=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The tuner under faults")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subnet", default="172.31.236.0/27")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    return parser.parse_args()


def main() -> None:
    """Run the campaign and print what came of it."""
    args = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    said = {"machine": machine(), "method": METHOD, "date": time.strftime("%Y-%m-%d"), "seed": args.seed,
            "nodes": args.nodes, "sizes": SIZES, "delay_s": DELAY}  # fmt: skip
    with opened(args.subnet, args.nodes) as tuner:
        found = {**said, **campaign(tuner, args.runs, random.Random(args.seed))}
    text = json.dumps(found, indent=2)
    if args.out:
        args.out.write_text(text + "\n")
    print(text if args.json else f"{found['good']} of {len(found['runs'])} runs are as they must be")
    sys.exit(0 if found["good"] == len(found["runs"]) else 1)


if __name__ == "__main__":
    main()
