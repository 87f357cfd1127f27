"""One server of bench_run.py from its start to its last step, and what was counted on both sides."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu.counts import by_load, by_repeat, by_request, counted, totals
from tests.gpu.lives import Life, Step, words
from tests.gpu.observe import CHAT, post
from tests.gpu.ranks import Quiet, Rank, page, until

ROOT = Path(__file__).resolve().parents[2]
START, FIRST = 330.0, 200.0
"""Seconds until a server is ready, and until its first answers, for which it compiles kernels."""
WARM_LENGTHS = (1, 40, 300, 1500, 3000)
SPARE = 12.0


@dataclass
class Bench:
    """Where things lie, what was seen so far, and when all must be over (monotonic seconds)."""

    out: Path
    work: Path
    environment: dict[str, str]
    end: float
    record: dict[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def left(self) -> float:
        return self.end - time.monotonic()

    def keep(self) -> None:
        """Write the record as far as it goes; a run cut short still leaves what it saw."""
        with self.lock:
            (self.out / "bench.json").write_text(json.dumps(self.record, indent=1) + "\n")

    def run(self, argv: Sequence[str], name: str, seconds: float) -> tuple[int | None, str, float]:
        """A Python module with the toolkit's libraries: exit code (None: ended by us), its stdout, and seconds."""
        began = time.monotonic()
        log = self.work / f"{name}.log"
        with log.open("w") as said, (self.work / f"{name}.out").open("w+") as told:
            process = subprocess.Popen(
                [sys.executable, *argv], env=self.environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=told,
                stderr=said, start_new_session=True,
            )  # fmt: skip
            try:
                code: int | None = process.wait(max(0.1, min(seconds, self.left() - SPARE / 2)))
            except subprocess.TimeoutExpired:
                code = None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            told.seek(0)
            return code, told.read(), round(time.monotonic() - began, 1)


def lived(bench: Bench, life: Life, rank: Quiet, model: Path, wanted: set[str]) -> None:
    """One life: readiness, first answers, every step."""
    seen = bench.record["lives"][life.name]
    try:
        until(lambda: rank.says("ready to roll") or rank.exit is not None, min(START, bench.left()), 0.5)
        seen["ready_s"] = round(rank.now(), 1) if rank.says("ready to roll") else None
        print(f"{rank.now():6.1f} {life.name}: ready {seen['ready_s']}, exit {rank.exit}", flush=True)
        if seen["ready_s"] is None:
            seen["last_lines"] = [text for _, text in rank.lines[-12:]]
            return
        seen["first"] = [first(rank, count) for count in WARM_LENGTHS]
        print(f"{rank.now():6.1f} {life.name}: warm {seen['first']}", flush=True)
        time.sleep(1.0)
        for step in life.steps:
            if bench.left() < SPARE * 2 or rank.exit or (wanted and step.suite not in wanted):
                continue
            told = taken(bench, life, rank, step, model)
            seen["steps"][step.suite] = told
            bench.keep()
            print(f"{rank.now():6.1f} {life.name} {step.suite}: exit {told['code']}, {told['seconds']} s", flush=True)
    except Exception as error:
        seen["broke"] = repr(error)
        print(f"{life.name}: {error!r}", flush=True)
    finally:
        bench.keep()


def first(rank: Rank, count: int) -> list[object]:
    """Status and seconds of an answer to a prompt of about so many tokens: the first of its size compiles kernels."""
    said = f"{count} " + "spark " * (count // 4)
    body = {**CHAT, "ignore_eos": True, "messages": [{"role": "user", "content": said}]}
    began = time.monotonic()
    told = post(rank.launch.port, "/v1/chat/completions", body, FIRST)
    return [told["status"], round(time.monotonic() - began, 1)]


def taken(bench: Bench, life: Life, rank: Quiet, step: Step, model: Path) -> dict[str, Any]:
    """One step, and the toolkit's counts beside the engine's."""
    name, url = f"{life.name}-{step.suite}", f"http://127.0.0.1:{rank.launch.port}"
    heard, results = bench.work / f"{name}.heard", bench.work / "results" / life.name
    before, began = exposed(rank), rank.now()
    if step.suite == "beside":
        argv = ["-m", "tests.gpu.beside", str(heard), url]
    else:
        argv = ["-m", "tests.gpu.heard", str(heard), *words(step, url, model, results)]
    code, told, seconds = bench.run(argv, name, step.seconds)
    time.sleep(1.0)
    seen: dict[str, Any] = {"code": code, "seconds": seconds}
    if code != 0:
        seen["said"] = (bench.work / f"{name}.log").read_text(errors="replace")[-1500:]
    engine = [one for one in counted(list(rank.lines)) if one.at >= began]
    lines = heard.read_text().splitlines() if heard.exists() else []
    answers = [json.loads(line) for line in lines]
    seen |= {"requests": by_request(answers, engine), "engine_total": sums(engine)}
    seen["prometheus"] = {key: value - before.get(key, 0) for key, value in exposed(rank).items()}
    for file in sorted(results.glob(f"{step.suite}-*.json")):
        run = json.loads(file.read_text())
        seen |= {"complete": run["complete"], "client_us_per_chunk": run["client"]["us_per_chunk"]}
        seen["accept_length"] = run["server"]["accept_length"]
        if step.suite != "load":
            seen["results"] = by_repeat(run, answers, engine)
        else:
            own = {one["id"] for one in answers}
            seen["load"] = by_load(run, asked(step), [one for one in engine if one.id not in own])
    return seen | ({"costs": json.loads(told)} if step.suite == "beside" and code == 0 else {})


def asked(step: Step) -> int:
    """Requests of one run of bench_serving, by the step's options."""
    options = step.options.split()
    return int(options[options.index("--requests") + 1])


def sums(engine: Sequence[Any]) -> dict[str, int]:
    """What the engine counted in all, by the names of its own counters."""
    return {
        "prompt_tokens": sum(one.prompt_tokens for one in engine),
        "generation_tokens": sum(one.completion_tokens for one in engine),
        "spec_verify_calls": sum(one.verified for one in engine),
    }


def exposed(rank: Rank) -> dict[str, float]:
    """The engine's counters now; none where it exposes none."""
    try:
        return totals(page(rank.launch.port, "/metrics", 10))
    except (OSError, urllib.error.URLError, ValueError):
        return {}
