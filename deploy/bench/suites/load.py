"""Sweeps of concurrency and of request rate, measured by SGLang's own bench_serving; sends no request of its own."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from deploy.bench.facts import SGLANG, STAND_IN
from deploy.bench.results import Case, Repeat, Scalar
from deploy.bench.serving import SGLANG as VERSION
from deploy.bench.serving import Point, Server, load, program
from deploy.bench.suite import Plan, Setting, Steps, Wish, measured
from deploy.bench.workload import text
from deploy.errors import BenchError
from deploy.event import Event, Note

PROMPT = 512
ROUNDS, LEAST = 4, 16
"""Requests of a run: so many for each that may be at work, and no fewer than that."""
CHARACTERS = 8
"""More than a token has, so that every text is long enough to be cut."""
PATIENCES = 12
"""A run may take so many times the patience with one request: an hour by default."""
ABOUT = (
    f"measured by SGLang {VERSION}'s bench_serving as it is, each repeat a run of its own; prompts are cut from prose",
    "ttft_s, tpot_s, itl_s and total_s are medians over a run's requests; itl_s is the gap between two chunks shared "
    "out over the tokens of the second: with speculation a chunk holds several, so it is no gap that a reader sees",
)
UNCOUNTED = (
    "bench_serving counts the tokens that were asked for, since it asks this server for no usage; itl_s is the gap "
    "between two chunks"
)


def run(setting: Setting) -> Iterator[Event | Case]:
    """A case for each concurrency, all requests waiting, and for each rate. Raises BenchError where it cannot run."""
    server, points = server_of(setting), sweep(setting.wish)
    program()
    yield from (Note(line) for line in ABOUT)
    if server.backend != "sglang":
        yield Note(UNCOUNTED)
    steps = Steps("load", len(points) * setting.wish.repeats)
    for name, parameters, point in points:
        asks = [partial(_run, setting, server, point, number) for number in range(setting.wish.repeats)]
        yield from measured(Plan(name, parameters, asks), steps)


def server_of(setting: Setting) -> Server:
    """Whom bench_serving asks, and in which way. Raises BenchError where it cannot be reached by its URL."""
    facts, target = setting.facts, setting.target
    if target.dial:
        what = f"{target.url} is reached through SSH alone, and bench_serving can only go there directly"
        raise BenchError(what, "run `load` where rank 0's port can be reached, or forward it: ssh -L, and --url")
    backend = "sglang" if facts.server.engine in (SGLANG, STAND_IN) else "vllm"
    tokenizer = setting.wish.sweep.tokenizer or facts.server.model
    return Server(target.url.rstrip("/").removesuffix("/v1"), facts.server.model, backend, tokenizer, target.key)


def sweep(wish: Wish) -> list[tuple[str, dict[str, Scalar], Point]]:
    """Name, parameters and run of every case."""
    prompt, asked = wish.lengths[0] if wish.lengths else PROMPT, wish.sweep
    shape: dict[str, Scalar] = {"prompt_tokens": prompt, "answer_tokens": wish.tokens}
    found: list[tuple[str, dict[str, Scalar], Point]] = []
    for most in asked.concurrency:
        point = Point(math.inf, most, asked.requests or max(LEAST, ROUNDS * most), prompt, wish.tokens, wish.seed)
        found.append((f"{most} at a time", {"sweep": "concurrency", "concurrency": most, **shape}, point))
    for rate in asked.rates:
        point = Point(rate, 0, asked.requests or LEAST, prompt, wish.tokens, wish.seed)
        found.append((f"{rate:g} a second", {"sweep": "rate", "rate": rate, **shape}, point))
    return found


def texts(point: Point, name: str) -> str:
    """Conversations in ShareGPT's format, no two of which begin alike; a repeat has its own."""
    said = (text("prose", CHARACTERS * point.prompt, point.seed, f"{name} {one}") for one in range(point.requests))
    return json.dumps([{"conversations": [{"value": one}, {"value": "Yes."}]} for one in said])


def _run(setting: Setting, server: Server, point: Point, number: int) -> Repeat:
    with tempfile.TemporaryDirectory(prefix="sglang-spark-texts-") as folder:
        file = Path(folder, "texts.json")
        file.write_text(texts(point, f"load {point.rate} {point.concurrency} {number}"), encoding="utf-8")
        # Its generators take 32 bits, and each repeat arrives in another rhythm.
        point = replace(point, seed=(point.seed + number) % 2**32)
        return load(server, point, file, PATIENCES * setting.target.patience)
