"""The soak: cycles of up, a random fault, recovery or down, on labs of its own; afterwards nothing may have leaked.

`benchmarks/soak.py [--cycles 200] [--seed N] [--jobs N] [--json] [--out FILE]`, with the project's own Python. Needs
root and a Docker Engine. One watch lives through many cycles, so that what leaks in it shows. Exit code 1 on a leak, or
where the gang did not come back. docs/faults.md says what is counted.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.campaign import counts  # noqa: E402
from benchmarks.campaign.client import Client, until  # noqa: E402
from benchmarks.campaign.lane import Lane, LaneError, machine, subnets  # noqa: E402
from benchmarks.campaign.strikes import cure, strike  # noqa: E402
from deploy.errors import DeployError  # noqa: E402

FAULTS = ("killed", "exits-1", "out-of-memory", "frozen", "cut", "powered-off", "reboots", "engine-killed", "ssh-cut",
          "slow", "disk-full", "clock-back")  # fmt: skip
HARMLESS = ("ssh-cut", "slow", "disk-full", "clock-back")
DOWN_EVERY = 10
"""One cycle in so many ends with `down` and a new watch."""
BACK = 180.0
FALL = 60.0
HARMLESS_SECONDS = 4.0


@dataclass
class Soak:
    """One lane's share of the cycles."""

    lane: Lane
    cycles: int
    dice: random.Random
    played: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    lives: list[list[counts.Counts]] = field(default_factory=list)
    before: dict[str, dict[str, int]] = field(default_factory=dict)
    after: dict[str, dict[str, int]] = field(default_factory=dict)
    watch: Client | None = None

    def play(self) -> None:
        """All cycles; ends early only where the lab itself breaks."""
        try:
            self.lane.open()
            self.before = self._on_nodes()
            while len(self.played) < self.cycles:
                self._cycle()
            self._down()
            self.after = self._on_nodes()
        except (LaneError, DeployError) as error:
            self.failed.append(f"the lab broke: {error}")
        finally:
            if self.watch:
                self.watch.end()
            self.lane.close()

    def _on_nodes(self) -> dict[str, dict[str, int]]:
        until(lambda: not self.lane.left(), 10)
        return {str(index): counts.of_node(node) for index, node in self.lane.nodes.items()}

    def _cycle(self) -> None:
        watch = self._watching()
        fault, victim = self.dice.choice(FAULTS), self.dice.randrange(self.lane.count)
        gang = set(self.lane.seen.alive())
        began = time.monotonic()
        strike(self.lane, fault, victim)
        if fault in HARMLESS:
            time.sleep(HARMLESS_SECONDS)
        else:
            until(lambda: len(set(self.lane.seen.alive()) & gang) <= 1, FALL)
        cure(self.lane, fault, victim)
        if not until(lambda: not watch.running or self._serves(set() if fault in HARMLESS else gang), BACK):
            self.failed.append(f"cycle {len(self.played)}: {fault} on {victim}: not back: {watch.text[-500:]}")
        elif not watch.running:
            self.failed.append(f"cycle {len(self.played)}: {fault} on {victim}: the watch ended: {watch.text[-500:]}")
        self.played.append(fault)
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{self.lane.folder.name} cycle {len(self.played)}: {fault} on {victim}, {took}", file=sys.stderr)
        if self.dice.randrange(DOWN_EVERY) == 0 or not watch.running or self.failed:
            self._down()
        else:
            self.lives[-1].append(counts.of_watch(watch.pid, list(self.lane.nodes.values())))

    def _watching(self) -> Client:
        """A watch of a gang that serves: the one that is there, or a new one."""
        if self.watch is None or not self.watch.running:
            self.watch = self.lane.client("up", "--watch", "--nodes", self.lane.cluster())
            self.lives.append([])
            one = self.watch
            until(lambda: self._serves(set()) or not one.running, BACK)
            if not self._serves(set()):
                raise LaneError(f"`up` did not come to serve: {one.text[-1000:]}")
            self.lives[-1].append(counts.of_watch(one.pid, list(self.lane.nodes.values())))
        return self.watch

    def _serves(self, old: set[str]) -> bool:
        alive = set(self.lane.seen.alive())
        return len(alive) == self.lane.count and not alive & old and self.lane.healthy(0) and self._told()

    def _told(self) -> bool:
        return self.watch is not None and self.watch.said(lambda line: " serves at " in line) is not None

    def _down(self) -> None:
        """A planned end: the watch goes by itself, and nothing is left on nodes or here."""
        self.lane.good("down", "--grace", "2", "--nodes", self.lane.cluster())
        if self.watch and not until(lambda: self.watch is None or not self.watch.running, 15):
            self.failed.append(f"cycle {len(self.played)}: the watch goes on after `down`")
            self.watch.end()
        if not until(lambda: not self.lane.left() and not self.lane.ports(), 10):
            self.failed.append(f"cycle {len(self.played)}: left after `down`: {'; '.join(self.lane.left())}")
            self.lane.clean()
        self.watch = None

    @property
    def leaks(self) -> list[str]:
        found = [f"node {index}, {one}" for index in self.after
                 for one in counts.grown(self.before.get(index, {}), self.after[index])]  # fmt: skip
        return found + [f"watch, {one}" for one in counts.crept(self.lives)]


def play(soaks: list[Soak]) -> None:
    """All lanes at once; an interruption ends them after the cycle that is under way."""
    with ThreadPoolExecutor(len(soaks)) as pool:
        working = [pool.submit(one.play) for one in soaks]
        try:
            wait(working)
        except KeyboardInterrupt:
            for one in soaks:
                one.cycles = 0
            wait(working)


def report(soaks: list[Soak]) -> dict[str, Any]:
    """The figures of all lanes."""
    return {
        "cycles": sum(len(one.played) for one in soaks),
        "faults": {name: sum(one.played.count(name) for one in soaks) for name in FAULTS},
        "watches": sum(len(one.lives) for one in soaks),
        "longest_watch_cycles": max((len(life) - 1 for one in soaks for life in one.lives), default=0),
        "failed": [what for one in soaks for what in one.failed],
        "leaks": [what for one in soaks for what in one.leaks],
        "nodes": [{"before": one.before, "after": one.after} for one in soaks],
        "watch_counts": [{"first": life[0], "last": life[-1]} for one in soaks for life in one.lives if len(life) > 1],
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The soak")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="labs side by side")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--subnet", default="172.31.237.0/24", help="the labs take a /27 each of it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON there")
    return parser.parse_args()


def main() -> None:
    """Run the cycles and print the counts, or JSON."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args, began = options(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sglang-spark-soak-") as folder:
        nets = subnets(args.subnet, args.jobs)
        shares = [args.cycles // args.jobs + (index < args.cycles % args.jobs) for index in range(args.jobs)]
        soaks = [
            Soak(Lane(Path(folder) / f"lane{index}", net, args.ranks), shares[index], random.Random(args.seed + index))
            for index, net in enumerate(nets)
        ]
        play(soaks)
    told = {"machine": machine(), "seed": args.seed, "jobs": args.jobs, "minutes": (time.monotonic() - began) / 60}
    found = {**report(soaks), **told}
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    lines = (f"{key:22} {json.dumps(value)}" for key, value in found.items())
    print(json.dumps(found, indent=2) if args.json else "\n".join(lines))
    sys.exit(1 if found["leaks"] or found["failed"] or found["cycles"] < args.cycles else 0)


if __name__ == "__main__":
    main()
