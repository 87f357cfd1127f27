"""The fault campaign: every fault in every phase, against the real command line, on labs of its own.

`benchmarks/faults.py [--quick] [--json] [--only FAULT[/PHASE]] [--runs 3] [--jobs N] [--out FILE]`, with the project's
own Python. Needs root and a Docker Engine. Exit code 1 if any cell fails. docs/faults.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.campaign.cells import QUICK, Cell, cells  # noqa: E402
from benchmarks.campaign.judge import Run, problems  # noqa: E402
from benchmarks.campaign.lane import Lane, LaneError, machine, subnets  # noqa: E402
from benchmarks.campaign.table import as_json, as_text, matrix  # noqa: E402
from benchmarks.campaign.trial import Trial  # noqa: E402

METHOD = (
    "each run: a lab of its own with real sshd and Docker Engines; `up --watch` to the phase; the fault; the ranks' "
    "processes looked at ten times a second past the tool; the fault taken back; until it serves again; `down`"
)


class Campaign:
    """Lanes side by side that take runs from one list."""

    def __init__(self, lanes: list[Lane], todo: list[tuple[Cell, int]]) -> None:
        self.lanes = lanes
        self.runs: dict[str, list[Run]] = defaultdict(list)
        self._todo: queue.SimpleQueue[tuple[Cell, int]] = queue.SimpleQueue()
        self._left = len(todo)
        self._stop = threading.Event()
        for one in todo:
            self._todo.put(one)

    def play(self) -> None:
        """Play all runs; a lane whose lab breaks gives up, and its runs count as failed."""
        with ThreadPoolExecutor(len(self.lanes)) as pool:
            working = [pool.submit(self._work, lane) for lane in self.lanes]
            try:
                wait(working)
            except KeyboardInterrupt:
                print("ending after the runs that are under way", file=sys.stderr)
                self._stop.set()
                wait(working)

    def _work(self, lane: Lane) -> None:
        try:
            lane.open()
            while not self._stop.is_set():
                cell, number = self._todo.get_nowait()
                run = Trial(lane, cell, number).play()
                self._take(cell, run)
                if run.broken:  # whatever it was, the next run begins on a lab that has not seen it
                    lane.close()
                    lane.open()
        except (queue.Empty, LaneError) as error:
            print(f"{lane.folder.name}: {error}", file=sys.stderr) if str(error) else None
        finally:
            lane.close()

    def _take(self, cell: Cell, run: Run) -> None:
        self.runs[cell.name].append(run)
        self._left -= 1
        wrong = "; ".join(problems(cell, run)).replace("\n", " | ")
        times = f"noticed {_seconds(run.notice_s)}, down {_seconds(run.down_s)}"
        print(f"{run.cell} run {run.number}: {times}: {wrong or 'as it must be'} ({self._left} left)", file=sys.stderr)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The fault campaign")
    parser.add_argument("--quick", action="store_true", help="one run of a few cells, in under three minutes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print a table for docs/faults.md")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT[/PHASE]")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="labs side by side")
    parser.add_argument("--ranks", type=int, help="of each gang: 4, with --quick 2")
    parser.add_argument("--subnet", default="172.31.236.0/24", help="the labs take a /27 each of it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    return parser.parse_args()


def main() -> None:
    """Run the campaign and print its table, or JSON."""
    args = options()
    ranks = args.ranks or (2 if args.quick else 4)
    chosen = cells(args.only or (QUICK if args.quick else ()))
    count = 1 if args.quick else args.runs
    # In another order each round: what else the machine does at a time must not fall on one fault alone.
    dice = random.Random(0)
    todo = [(cell, number) for number in range(count) for cell in dice.sample(chosen, len(chosen))]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began, said = time.monotonic(), {"machine": machine(), "method": METHOD, "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory(prefix="sglang-spark-faults-") as folder:
        nets = subnets(args.subnet, min(args.jobs, len(todo)))
        lanes = [Lane(Path(folder) / f"lane{index}", net, ranks) for index, net in enumerate(nets)]
        campaign = Campaign(lanes, todo)
        campaign.play()
        gap = max(lane.worst_gap for lane in lanes)
    told = {**said, "jobs": args.jobs, "ranks": ranks, "observer_worst_gap_s": gap,
            "minutes": (time.monotonic() - began) / 60}  # fmt: skip
    found = as_json(chosen, campaign.runs, told)
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    shown = json.dumps(found, indent=2) if args.json else matrix(found) if args.markdown else ""
    print(shown or as_text(chosen, campaign.runs))
    sys.exit(0 if found["passed"] == found["cells"] else 1)


if __name__ == "__main__":
    main()
