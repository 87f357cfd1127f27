"""SGLang's own load generator, bench_serving: fetched once, run as it is, its output file read; measures nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import group, store
from deploy.bench.results import Repeat
from deploy.errors import BenchError

SGLANG = "0.5.4.post2"
"""Whose bench_serving is run, whatever the server is: one client for all."""
MODULE = "sglang/bench_serving.py"
NEEDS = ("aiohttp", "datasets", "numpy", "PIL", "pybase64", "requests", "tqdm", "transformers")
"""What it imports. Of SGLang it imports nothing."""
UNREACHED = re.compile(r"Cannot connect to host|Connection refused|ConnectionRefusedError")
FIGURES = {
    "request_rate_s": ("request_throughput", 1.0),
    "input_tok_s": ("input_throughput", 1.0),
    "output_tok_s": ("output_throughput", 1.0),
    "ttft_s": ("median_ttft_ms", 1e-3),
    "ttft_p99_s": ("p99_ttft_ms", 1e-3),
    "tpot_s": ("median_tpot_ms", 1e-3),
    "itl_s": ("median_itl_ms", 1e-3),
    "itl_p99_s": ("p99_itl_ms", 1e-3),
    "total_s": ("median_e2e_latency_ms", 1e-3),
    "concurrency": ("concurrency", 1.0),
    "accept_length": ("accept_length", 1.0),
}
"""Our names for what its output file has, and the factor to our unit."""


@dataclass(frozen=True)
class Server:
    """Whom it asks. `backend`: its word for the kind of server; `tokenizer`: a folder or a hub name."""

    url: str
    model: str
    backend: str
    tokenizer: str
    key: str = ""


@dataclass(frozen=True)
class Point:
    """One run: requests at `rate` a second (inf: all at once), `concurrency` of them at a time at most (0: no bound).

    Every request has `prompt` tokens, and asks for `output` more.
    """

    rate: float
    concurrency: int
    requests: int
    prompt: int
    output: int
    seed: int


def program() -> Path:
    """The file to run. Raises BenchError where a package that it imports is missing, BuildError from pip."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        what = f"`load` runs SGLang's bench_serving, which imports {', '.join(missing)}: not installed in this Python"
        raise BenchError(what, "pip install '.[bench]'")
    folder = store.cache() / "sources" / f"bench-serving-{SGLANG}"
    store.keep(folder, _unpack)
    return folder / Path(MODULE).name


def _unpack(folder: Path) -> None:
    with zipfile.ZipFile(store.wheel("sglang", SGLANG)) as archive:
        (folder / Path(MODULE).name).write_bytes(archive.read(MODULE))


def arguments(server: Server, point: Point, texts: Path, output: Path) -> list[str]:
    """Its command line. `texts`: conversations in ShareGPT's format, from which prompts are cut."""
    words: dict[str, Any] = {
        "backend": server.backend,
        "base-url": server.url,
        # It tries to load a tokenizer by the model's name too, from the hub where that is no folder.
        "model": server.tokenizer,
        "served-model-name": server.model,
        "tokenizer": server.tokenizer,
        "dataset-name": "random",
        "dataset-path": texts,
        "random-input-len": point.prompt,
        "random-output-len": point.output,
        "random-range-ratio": 1.0,
        "num-prompts": point.requests,
        "request-rate": point.rate,
        "seed": point.seed,
        "output-file": output,
    }
    if point.concurrency:
        words["max-concurrency"] = point.concurrency
    flags = [part for name, value in words.items() for part in (f"--{name}", str(value))]
    return [*flags, "--output-details", "--disable-tqdm", *(["--flush-cache"] if server.backend == "sglang" else [])]


def environment(base: Mapping[str, str], server: Server) -> dict[str, str]:
    """It takes the API key as OpenAI's; a tokenizer that is a folder needs no hub."""
    made = {**base, "PYTHONUNBUFFERED": "1", **({"OPENAI_API_KEY": server.key} if server.key else {})}
    if not server.key:
        made.pop("OPENAI_API_KEY", None)
    return made | ({"HF_HUB_OFFLINE": "1"} if Path(server.tokenizer).is_dir() else {})


def read(output: str, requests: int, said: str = "") -> Repeat:
    """What its output file tells; a run in which a request failed has failed. `said`: its last words."""
    try:
        told = json.loads(output.splitlines()[-1])
        errors = [one for one in told["errors"] if one]
        failed = requests - int(told["completed"])
    except (ValueError, LookupError, TypeError):
        return Repeat(False, f"bench_serving wrote no result: {said or 'it said nothing'}", _kind(said))
    if failed:
        why = next((one.strip().splitlines()[-1] for one in errors if one.strip()), "it does not say why")
        kind = _kind(" ".join(errors)) if failed == requests else "failed"
        return Repeat(False, f"{failed} of {requests} requests failed: {why}", kind)
    return Repeat(True, usage=_usage(told), figures=_figures(told))


def _figures(told: Mapping[str, Any]) -> dict[str, float]:
    """Without those that it does not have, such as an accept length without speculation."""
    found = {name: (told.get(theirs), factor) for name, (theirs, factor) in FIGURES.items()}
    return {name: value * factor for name, (value, factor) in found.items() if value and math.isfinite(value)}


def _usage(told: Mapping[str, Any]) -> dict[str, int]:
    return {"prompt_tokens": told["total_input_tokens"], "completion_tokens": told["total_output_tokens"]}


def _kind(said: str) -> str:
    return "refused" if UNREACHED.search(said) else "failed"


def load(server: Server, point: Point, texts: Path, limit: float) -> Repeat:
    """Run it once. After `limit` seconds it is ended, as it is when this is interrupted."""
    with tempfile.TemporaryDirectory(prefix="sglang-spark-load-") as folder, open(Path(folder, "said"), "w+") as said:
        output = Path(folder, "output.jsonl")
        argv = [sys.executable, str(program()), *arguments(server, point, texts, output)]
        ended = _run(argv, environment(os.environ, server), said, limit)
        said.seek(0)
        words = " | ".join(line.strip() for line in said.read().splitlines()[-3:])
        if not ended:
            return Repeat(False, f"bench_serving did not end within {limit:g} s, and was ended", "stalled")
        return read(output.read_text(encoding="utf-8") if output.exists() else "", point.requests, words)


def _run(argv: Sequence[str], environ: Mapping[str, str], said: Any, limit: float) -> bool:
    """Whether it ended by itself. It is a process group of its own: Ctrl-C is for us, who then end it by its id."""
    process = subprocess.Popen(
        argv, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
    )
    end = time.monotonic() + limit
    try:
        while not (over := group.over(process)) and time.monotonic() < end:
            time.sleep(0.05)
        return over
    finally:
        group.end(process)
