"""Real Ray over one host's GPU: the head and its workers as `tune --nodes` starts them, and the worker killed midway.

Each part has PIDs and a /tmp/ray of its own, as in a container, and an address of its own on the loopback; it is
killed as a container is, with everything in it.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune.happening import Finished, Lost, Measured, heard
from deploy.tune.problem import Emulation, Problem
from deploy.tune.roofline import Ceilings
from deploy.tune.task import Task
from deploy.tune.trial import timing_json, trial_json

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = Problem(
    Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True), GB10, emulation=Emulation("sm121", GB10.shared_memory)
)
SIZES = (512, 16)
ONLY = tuple(PROBLEM.candidates["up"][::6])
"""Some of the candidates: what is looked at is who measures, not what is found."""
HEAD, PORTS, FEED = "127.0.0.1", 26400, 4.0
STRIKE_AT = 100
"""Measurements after which the worker is killed."""
TOKEN = "5a" * 32
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
         'mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && exec "$@"', "sh")  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A role of deploy.tune.node; its input is its lifeline, and its lines come through `lines`, None at the end."""

    process: subprocess.Popen[str]
    lines: queue.SimpleQueue[str | None]

    def feed(self) -> None:
        """A sign of life every few seconds, for as long as it takes one."""
        with suppress(OSError, ValueError):
            while self.process.poll() is None:
                self.process.stdin.write("\n")  # type: ignore[union-attr]
                self.process.stdin.flush()  # type: ignore[union-attr]
                time.sleep(FEED)

    def hear(self) -> None:
        for text in self.process.stdout:  # type: ignore[union-attr]
            self.lines.put(text)
        self.lines.put(None)

    def kill(self) -> None:
        """With everything in it."""
        self.process.kill()
        self.process.wait()


def started(role: str, told: Mapping[str, Any], more: Sequence[str], environment: Mapping[str, str]) -> Part:
    argv = (*APART, sys.executable, "-m", "deploy.tune.node", role, *more)
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=ROOT, env=dict(environment), stdin=pipe, stdout=pipe, text=True)
    process.stdin.write(json.dumps(told) + "\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    part = Part(process, queue.SimpleQueue())
    for watch in (part.feed, part.hear):
        threading.Thread(target=watch, daemon=True).start()
    return part


def place(address: str, name: str, ports: int, gpus: int) -> tuple[str, ...]:
    return "--address", address, "--name", name, "--ports", str(ports), "--gpus", str(gpus)


@dataclass
class Crew:
    """A head without a GPU, and workers that take turns to have those that are there."""

    environment: Mapping[str, str]
    head: Part
    worker: Part
    gpus: int
    number: int = 1

    def another(self) -> None:
        """In place of the one that was killed."""
        self.number += 1
        self.worker = joined(self.environment, self.number, self.gpus)

    def end(self) -> None:
        for part in (self.worker, self.head):
            part.kill()


def joined(environment: Mapping[str, str], number: int, gpus: int) -> Part:
    at = place(f"127.0.0.{number + 1}", f"worker {number}", PORTS + 60 * number, gpus)
    return started("join", {"token": TOKEN}, ("--head", f"{HEAD}:{PORTS}", *at), environment)


@contextmanager
def crew(facts: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Crew]:
    """Begun, and everything ended after."""
    task = Task(PROBLEM, SIZES, Ceilings.of(facts), ONLY)
    job = {"task": task.as_json(), "sizes": list(SIZES), "known": [], "token": TOKEN}
    major, minor = facts["capability"]
    begun = started("head", job, (*place(HEAD, "head", PORTS, 0), "--arch", f"{major}{minor}"), environment)
    gpus = int(facts.get("gpus", 1))
    made = Crew(environment, begun, joined(environment, 1, gpus), gpus)
    try:
        yield made
    finally:
        made.end()


def facts_of(kernel: Path, environment: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """What the worker process says of the GPU."""
    module = environment.get("SGLANG_SPARK_STANDIN_TIMER") or "deploy.tune.gpu.worker"
    argv = (sys.executable, "-m", module, str(kernel), json.dumps(PROBLEM.as_json()))
    done = subprocess.run(argv, cwd=ROOT, env=dict(environment), input='{"facts": true}\n', capture_output=True,
                          text=True, timeout=seconds, check=False)  # fmt: skip
    if not done.stdout:
        raise RuntimeError(done.stderr[-1000:])
    return dict(json.loads(done.stdout))


def followed(made: Crew, strike_at: int, end: float, began: float) -> dict[str, Any]:
    """Until the head has ended; the worker is killed after so many measurements."""
    happenings: list[Any] = []
    told: dict[str, Any] = {"struck_after": None, "last": ""}
    while time.time() < end:
        with suppress(queue.Empty):
            text = made.head.lines.get(timeout=0.2)
            if text is None:
                break
            try:
                happenings.append(heard(text))
            except (ValueError, KeyError, TypeError):
                told["last"] = text
        count = sum(isinstance(one, Measured) for one in happenings)
        if told["struck_after"] is None and count >= strike_at:
            made.worker.kill()
            made.another()
            told |= {"struck_after": round(time.time() - began, 1), "struck_at": count}
    ended = made.head.process.poll() if time.time() >= end else made.head.process.wait(20)
    return {**told, **summary(happenings), "code": ended, "seconds": round(time.time() - began, 1)}


def summary(happenings: Sequence[Any]) -> dict[str, Any]:
    measured = [one for one in happenings if isinstance(one, Measured)]
    trials = [one.trial for one in measured]
    by: dict[str, int] = {}
    for one in measured:
        by[one.node] = by.get(one.node, 0) + 1
    return {
        "measurements": len(measured),
        "by": by,
        "turns": sum(before.tokens != after.tokens for before, after in pairwise(trials)),
        "twice": len(trials) - len(set(trials)),
        "failed": sum(bool(one.timing.failed) for one in measured),
        "finished": [vars(one) for one in happenings if isinstance(one, Finished)],
        "lost": [vars(one) for one in happenings if isinstance(one, Lost)],
        "trials": [{"trial": trial_json(one.trial), "timing": timing_json(one.timing)} for one in measured][:3],
    }


def ran(kernel: Path, environment: Mapping[str, str], end: float) -> dict[str, Any]:
    """What came of it, or why nothing did."""
    began = time.time()
    try:
        facts = facts_of(kernel, environment, max(end - began, 1))
        with crew(facts, environment) as made:
            return {"facts": facts, "candidates": len(ONLY), **followed(made, STRIKE_AT, end, began)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
