"""Runs `bench run` against real SGLang servers on one GPU and holds its counts against the engine's own.

    python3 -m tests.gpu.bench_run --engine site.tar.xz --tools bench.tar.xz OUT [--seconds 560]

tests/gpu/README.md says how. OUT/bench.json is the record, written after every step; OUT/logs.tar.gz holds what all
said, with the results of every suite.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu import prepare
from tests.gpu.counts import by_load, by_repeat, by_request, counted, totals
from tests.gpu.engine_run import SGLANG, device
from tests.gpu.lives import CONTEXT, ENDS, LIVES, Life, Step, launch, words
from tests.gpu.observe import CHAT, post
from tests.gpu.ranks import Rank, until

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = """\
name: one
image: {repository: example.invalid/sglang}
nodes: [{host: 127.0.0.1, fabric: 127.0.0.1}]
"""
IMPORTS = {
    "toolkit": "import click, fabric, pydantic, rich, yaml, deploy.workflow.bench",
    "bench_serving": "import deploy.bench.serving as one; print(one.program())",
    "openai": "import openai, benchmarks.truth; print(openai.__version__)",
}
START, FIRST = 330.0, 200.0
"""Seconds until a server is ready, and until its first answers, for which it compiles kernels."""
WARM_LENGTHS = (1, 40, 300, 1500, 3000)
SPARE = 12.0


class Quiet(Rank):
    """A server that nobody asks for its health: each such question is a request too."""

    def _ask(self) -> None:
        return


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


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.bench_run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", type=Path, required=True, help="site.tar.xz, or the folder of an engine")
    parser.add_argument("--tools", type=Path, help="bench.tar.xz; without it, this Python's own libraries")
    parser.add_argument("--seconds", type=float, default=560, help="all is ended by then")
    parser.add_argument("--lives", default=",".join(life.name for life in LIVES))
    parser.add_argument("--suites", default="", help="only these, of each life")
    parser.add_argument("--work", type=Path, default=Path("/tmp/bench"))
    return parser.parse_args()


def main() -> int:
    """Exit code 0 when every step of every life came to its end."""
    given = arguments()
    end = time.monotonic() + given.seconds
    given.out.mkdir(parents=True, exist_ok=True)
    given.work.mkdir(parents=True, exist_ok=True)
    real = given.engine.is_file()
    site, model = unpacked(given, real), given.work / "model"
    record = {"sglang": SGLANG if real else "stand-in", "devices": device() if real else [], "lives": {}}
    bench = Bench(given.out, given.work, environment(given, site if real else None), end, record)
    make_model(model)
    record["imports"] = {name: tried(bench, name) for name in (IMPORTS if given.tools else ())}
    bench.keep()
    lives = [life for life in LIVES if life.name in given.lives.split(",")]
    wanted = {name for name in given.suites.split(",") if name}
    with servers(bench, lives, site, model, stand_in=not real) as ranks:
        threads = [
            threading.Thread(target=lived, args=(bench, life, rank, model, wanted), daemon=True)
            for life, rank in zip(lives, ranks, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.1, bench.left() - SPARE / 3))
    bench.keep()
    pack(bench)
    steps = [step for life in record["lives"].values() for step in life.get("steps", {}).values()]
    return 0 if len(record["lives"]) == len(lives) and steps and all(step["code"] == 0 for step in steps) else 1


def unpacked(given: argparse.Namespace, real: bool) -> Path:
    """The engine's folder; the toolkit's libraries are laid beside it."""
    if given.tools:
        (given.work / "tools").mkdir(exist_ok=True)
        subprocess.run(["tar", "-C", str(given.work / "tools"), "-xJf", str(given.tools)], check=True)
    if not real:
        return given.engine.absolute()
    site: Path = given.work / "site"
    prepare.unpack(given.engine, site)
    return site


def environment(given: argparse.Namespace, site: Path | None) -> dict[str, str]:
    """What the toolkit runs with: its libraries, a cache that holds bench_serving, and no network."""
    made = {**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    tools = given.work.absolute() / "tools"
    if given.tools:
        # Last the engine's own packages, of which the toolkit takes only `openai` and what that needs.
        made["PYTHONPATH"] = os.pathsep.join([str(tools / "python"), *([str(site)] if site else [])])
        made["XDG_CACHE_HOME"] = str(tools / "cache")
    return made


def make_model(folder: Path) -> None:
    """The tiny model with a longer context and many tokens that end an answer."""
    prepare.make_model(folder)
    for name, more in (
        ("config.json", {"max_position_embeddings": CONTEXT}),
        ("generation_config.json", {"eos_token_id": ENDS}),
    ):
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **more}, indent=1))


def tried(bench: Bench, name: str) -> str:
    """Whether what a step imports is there, before anything is long: `ok` and what it printed, or the last line."""
    code, told, _ = bench.run(["-c", IMPORTS[name]], f"import-{name}", 40)
    said = (bench.work / f"import-{name}.log").read_text().strip().splitlines() or ["it said nothing"]
    return f"ok {told.strip()}".strip() if code == 0 else said[-1]


@contextmanager
def servers(bench: Bench, lives: Sequence[Life], site: Path, model: Path, *, stand_in: bool) -> Iterator[list[Quiet]]:
    """All lives' servers, started at once; no process of theirs is left behind."""
    (bench.work / "one.yaml").write_text(CLUSTER)
    code, told, _ = bench.run(["-m", "tests.gpu.export", str(bench.work / "one.yaml")], "export", 60)
    if code:
        sys.exit((bench.work / "export.log").read_text()[-2000:])
    one, ranks, began = json.loads(told)["ranks"][0], [], time.monotonic()
    try:
        for number, life in enumerate(lives):
            made = launch(life, number, one, site, model, stand_in)
            bench.record["lives"][life.name] = {"about": life.about, "argv": made.argv[1:], "steps": {}}
            ranks.append(Quiet(made, bench.work / f"server-{life.name}.log", began))
        yield ranks
    finally:
        for rank in ranks:
            rank.signal(signal.SIGKILL)
        for rank in ranks:
            rank.process.wait()


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
    if code:
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
        seen["results"] = by_repeat(run, answers, engine)
        if step.suite == "load":
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
        with urllib.request.urlopen(f"http://127.0.0.1:{rank.launch.port}/metrics", timeout=10) as answer:
            return totals(answer.read().decode())
    except (OSError, urllib.error.URLError, ValueError):
        return {}


def pack(bench: Bench) -> None:
    """One archive of all logs and results, since only few files come back from some machines."""
    with tarfile.open(bench.out / "logs.tar.gz", "w:gz") as archive:
        for file in sorted(bench.work.iterdir()):
            if file.suffix in (".log", ".out", ".heard") or file.name == "results":
                archive.add(file, file.name)


if __name__ == "__main__":
    sys.exit(main())
