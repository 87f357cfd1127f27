"""Runs `bench run` against real SGLang servers on one GPU and holds its counts against the engine's own.

    python3 -m tests.gpu.bench_run --engine site.tar.xz --tools bench.tar.xz OUT [--seconds 560]

tests/gpu/README.md says how. OUT/bench.json is the record, written after every step; OUT/logs.tar.gz holds what all
said, with the results of every suite.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.bench.workload import KINDS, text
from tests.gpu import prepare
from tests.gpu.engine_run import SGLANG, device
from tests.gpu.lives import CONTEXT, ENDS, LIVES, Life, launch
from tests.gpu.ranks import Quiet, none_left
from tests.gpu.served import SPARE, Bench, lived

CLUSTER = """\
name: one
image: {repository: example.invalid/sglang}
nodes: [{host: 127.0.0.1, fabric: 127.0.0.1}]
"""
BEGIN = "{{ messages[0].content[9:25] }}"
"""An answer goes on from the last token of the prompt: a piece of the prompt's own first line."""
IMPORTS = {
    "toolkit": "import click, fabric, pydantic, rich, yaml, deploy.workflow.bench",
    "bench_serving": "import deploy.bench.serving as one; print(one.program())",
    "openai": "import openai, benchmarks.truth; print(openai.__version__)",
}


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
    if real:
        code, _, _ = bench.run(["-m", "tests.gpu.weights", str(model)], "weights", 60)
        record["weights"] = "made" if code == 0 else (bench.work / "weights.log").read_text()[-1000:]
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
    """The tiny model with a longer context, words of the workloads' texts, and many tokens that end an answer."""
    texts = [text(kind, 60_000, 0, "vocabulary") for kind in KINDS]
    prepare.make_model(folder, partial(prepare.make_tokenizer, texts, prepare.CONFIG["vocab_size"]))
    for name, more in (
        ("config.json", {"max_position_embeddings": CONTEXT}),
        ("generation_config.json", {"eos_token_id": ENDS}),
        ("tokenizer_config.json", {"chat_template": prepare.TEMPLATE + BEGIN}),
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
    with none_left(ranks):
        for number, life in enumerate(lives):
            made = launch(life, number, one, site, model, stand_in)
            bench.record["lives"][life.name] = {"about": life.about, "argv": made.argv[1:], "steps": {}}
            ranks.append(Quiet(made, bench.work / f"server-{life.name}.log", began))
        yield ranks


def pack(bench: Bench) -> None:
    """One archive of all logs and results, since only few files come back from some machines."""
    with tarfile.open(bench.out / "logs.tar.gz", "w:gz") as archive:
        for file in sorted(bench.work.iterdir()):
            if file.suffix in (".log", ".out", ".heard") or file.name == "results":
                archive.add(file, file.name)


if __name__ == "__main__":
    sys.exit(main())
