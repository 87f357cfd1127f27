"""What `bench` reports of a server whose true timings are known: the stand-in engine, on the loopback address.

`benchmarks/truth.py [--json] [--repeats 5]`, with the project's own Python. For 1, 4 and 8 tokens a chunk the stand-in
is told its tokens a second and its first-token delay, and the suite `context` measures it. `worst_error` is the largest
relative error of any figure and must be at most 2 %; counting chunks as tokens, shown beside it, is off by the tokens a
chunk. `client_us_per_chunk` is the CPU time that a chunk costs this client, connecting and reading included, and
must be below 60; the `openai` package, and a loop that does nothing but receive, take the same streams in turns with
it. Of each the least of several streams counts. Exit code 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.bench.client import Target  # noqa: E402
from deploy.bench.facts import learn  # noqa: E402
from deploy.bench.metrics import CHUNKS_AS_TOKENS  # noqa: E402
from deploy.bench.results import Case  # noqa: E402
from deploy.bench.suite import Setting, Wish, runner  # noqa: E402
from tests.integration.standin import launches, site  # noqa: E402

RATE, DELAY, TOKENS = 200.0, 0.4, 256
SIZES = (1, 4, 8)
LENGTHS = (512, 4096)
BOUND, COST_BOUND = 0.02, 60.0
START = 60.0
STREAMS = 10
"""Streams that each client takes for the comparison of their costs."""


@dataclass(frozen=True)
class Row:
    """One figure of one case beside the truth; `wrong` marks the way of counting that is shown for comparison."""

    tokens_per_chunk: int
    case: str
    figure: str
    truth: float
    reported: float
    wrong: bool = False

    @property
    def error(self) -> float:
        return abs(self.reported / self.truth - 1)


def truths(size: int) -> dict[str, float]:
    """What a stand-in with so many tokens a chunk does, by construction."""
    chunks = ceil(TOKENS / size)
    return {
        "ttft_s": DELAY,
        "decode_tok_s": RATE,
        "total_s": DELAY + (chunks - 1) * size / RATE,
        "chunk_gap_s": size / RATE,
        "chunks": chunks,
        "tokens_per_chunk": size,
        "completion_tokens": TOKENS,
        "accept_length": size,
        "step_at_zero_s": size / RATE,
    }


def rows(size: int, case: Case) -> Iterator[Row]:
    """Every figure of a case that has a truth, and the wrong count against the true rate."""
    for name, truth in truths(size).items():
        if name in case.figures:
            yield Row(size, case.name, name, truth, case.figures[name].median)
    if "prefill_tok_s" in case.figures:
        read = case.figures["prompt_tokens"].median / DELAY
        yield Row(size, case.name, "prefill_tok_s", read, case.figures["prefill_tok_s"].median)
    if CHUNKS_AS_TOKENS in case.figures:
        yield Row(size, case.name, CHUNKS_AS_TOKENS, RATE, case.figures[CHUNKS_AS_TOKENS].median, wrong=True)


@contextmanager
def stand_in(where: Path, size: int, folder: Path) -> Iterator[str]:
    """The URL of a stand-in that serves with so many tokens a chunk."""
    told = {
        "STANDIN_TOKENS_PER_SECOND": str(RATE),
        "STANDIN_CHUNK_TOKENS": str(size),
        "STANDIN_FIRST_TOKEN_SECONDS": str(DELAY),
    }
    launch, log = launches(where, 1, env=told)[0], folder.with_suffix(".log")
    with log.open("wb") as kept:
        process = subprocess.Popen(launch.argv, env={**os.environ, **launch.env}, stdout=kept, stderr=kept)
    try:
        end = time.monotonic() + START
        while b"ready to roll" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the stand-in did not start:\n{log.read_text()[-1000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{launch.port}"
    finally:
        process.kill()
        process.wait()


def measure(url: str, repeats: int) -> tuple[list[Case], Setting]:
    """The suite `context`, as `bench run` runs it."""
    target = Target(url, patience=30)
    setting = Setting(target, learn(target), Wish(repeats, 1, TOKENS, LENGTHS))
    return [item for item in runner("context")(setting) if isinstance(item, Case)], setting


def costs(url: str, setting: Setting) -> tuple[float, float, float]:
    """CPU microseconds a chunk of this client, of the `openai` package, and of a loop that only receives.

    The least over streams that are taken in turns, since what else runs on the machine can only add.
    """
    ours, theirs, bare = [], [], []
    for number in range(STREAMS):
        messages = [{"role": "user", "content": f"Cost {number}."}]
        ours.append(_ours(setting, messages))
        theirs.append(_theirs(url, setting.facts.server.model, messages))
        bare.append(_bare(url, setting.facts.server.model, messages))
    return min(ours), min(theirs), min(bare)


def _bare(url: str, model: str, messages: list[dict[str, Any]]) -> float:
    """What the kernel and one call of Python take: no client that notes when chunks come can cost less."""
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"model": model, "messages": messages, "max_tokens": TOKENS, "stream": True, "ignore_eos": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall((head + body).encode())
        began, count = time.thread_time(), 0
        while connection.recv(1 << 16):
            count += 1
        return 1e6 * (time.thread_time() - began) / count


def _ours(setting: Setting, messages: list[dict[str, Any]]) -> float:
    began = time.thread_time()
    answer = setting.stream(messages, max_tokens=TOKENS, extra={"ignore_eos": True})
    return 1e6 * (time.thread_time() - began) / len(answer.times)


def _theirs(url: str, model: str, messages: list[dict[str, Any]]) -> float:
    from openai import OpenAI

    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        began, stamps = time.thread_time(), []
        options = {"include_usage": True, "continuous_usage_stats": True}
        create: Any = client.chat.completions.create
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": TOKENS}
        extra = {"ignore_eos": True}
        for chunk in create(**body, stream=True, stream_options=options, extra_body=extra):
            delta = chunk.choices[0].delta if chunk.choices else None
            if delta and (delta.content or getattr(delta, "reasoning_content", None)):
                stamps.append(time.perf_counter())
        return 1e6 * (time.thread_time() - began) / len(stamps)


def as_text(found: list[Row], summary: dict[str, Any]) -> str:
    lines = [f"{'tokens a chunk':>14}  {'case':<22}{'figure':<24}{'truth':>10}{'reported':>10}  error"]
    for row in found:
        shown = f"{row.tokens_per_chunk:>14}  {row.case:<22}{row.figure:<24}{row.truth:>10.4g}{row.reported:>10.4g}"
        off = f"off by a factor of {row.truth / row.reported:.2f}" if row.wrong else f"{100 * row.error:.2f} %"
        lines.append(f"{shown}  {off}")
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in summary.items())])


def main() -> int:
    """Measure, print, and judge by the two bounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=5, help="requests a case")
    given = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(sys.stderr):
            where = site("0.5.4.post2", Path(folder, "site"))
        for size in SIZES:
            with stand_in(where, size, Path(folder, str(size))) as url:
                cases, setting = measure(url, given.repeats)
                found += [row for case in cases for row in rows(size, case)]
                if size == 1:
                    ours, theirs, bare = costs(url, setting)
    summary = {
        "worst_error": round(max(row.error for row in found if not row.wrong), 5),
        "client_us_per_chunk": round(ours, 1),
        "bare_us_per_chunk": round(bare, 1),
        "openai_us_per_chunk": round(theirs, 1),
        "openai_to_client": round(theirs / ours, 1),
    }
    if given.json:
        told = [{**asdict(row), "error": round(row.error, 5)} for row in found]
        print(json.dumps({**summary, "rows": told}, indent=1))
    else:
        print(as_text(found, summary))
    return int(summary["worst_error"] > BOUND or ours >= COST_BOUND)


if __name__ == "__main__":
    sys.exit(main())
