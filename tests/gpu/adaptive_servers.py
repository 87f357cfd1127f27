"""Whole servers with the patch set adaptive-moe on this host's GPU, beside SGLang's own backends; writes what was seen.

    python3 -m tests.gpu.adaptive_servers --tree TREE --own PACKAGES --out FILE [--seconds N]

All of them run at once, so times mean nothing here. What is stood in for: adaptive_tree.py, adaptive_operators.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu import adaptive_said as said
from tests.gpu.adaptive_models import LAYERS, MODELS, VOCABULARY, make
from tests.gpu.prepare import CONFIG as GLM

THRESHOLD = 32
GRAPHS = (1, 4, 16, 48)
"""Batch sizes that are captured: three below the threshold, one above."""
STEPS = 10
"""Decode steps that are profiled."""
PROMPTS = (5, 20, 31, 32, 40, 100, 300)
"""Tokens of the prompts, each prefilled alone: on both sides of the threshold."""
ADAPTIVE = ("--enable-adaptive-moe", "--adaptive-moe-batch-threshold")
FLAGS = (
    "--skip-tokenizer-init --enable-metrics --disable-radix-cache --mem-fraction-static 0.3 --max-total-tokens 30000 "
    "--context-length 4096 --attention-backend triton --sampling-backend pytorch --grammar-backend none "
    "--host 127.0.0.1"
)


@dataclass
class Server:
    """One server: `backend` alone, or adaptive with a threshold; `refused` where it may not start."""

    name: str
    model: str
    flags: tuple[str, ...]
    port: int
    refused: bool = False
    process: subprocess.Popen[bytes] | None = None
    found: dict[str, Any] = field(default_factory=dict)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def servers() -> list[Server]:
    """For each model both backends alone, and the adaptive layer; and those that are refused."""
    made: list[tuple[str, str, tuple[str, ...], bool]] = []
    for model in MODELS:
        made += [
            ("triton", model, ("--moe-runner-backend", "triton"), False),
            ("triton_kernels", model, ("--moe-runner-backend", "triton_kernel"), False),
            ("adaptive", model, (*ADAPTIVE, str(THRESHOLD)), False),
        ]
    auto = (*ADAPTIVE, "auto")
    made += [
        ("auto", "mixtral", auto, False),
        ("glm-4.7", "glm", (*auto, "--load-format", "dummy"), True),
        ("fp8", "mixtral", (*auto, "--quantization", "fp8"), True),
        ("ep", "mixtral", (*auto, "--tp-size", "2", "--ep-size", "2"), True),
    ]
    return [
        Server(name, model, flags, 31000 + 100 * at, refused) for at, (name, model, flags, refused) in enumerate(made)
    ]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.adaptive_servers")
    parser.add_argument("--tree", type=Path, required=True, help="a patched tree")
    parser.add_argument("--own", type=Path, required=True, help="the packages that were carried")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=200, help="until when a server has to serve")
    parser.add_argument("--work", type=Path, default=Path("/tmp/adaptive-servers"), help="models, logs and traces")
    parser.add_argument("--only", help="names of servers, by commas")
    return parser.parse_args()


def start(one: Server, asked: argparse.Namespace) -> None:
    """Its processes are a session of their own, and its log is a file."""
    words = [sys.executable, "-m", "tests.gpu.adaptive_serve", str(asked.tree), str(asked.own)]
    words += ["--model-path", str(asked.work / one.model), *FLAGS.split(), "--port", str(one.port)]
    # Else SGLang draws one, and two servers of a host may draw the same.
    words += ["--nccl-port", str(one.port + 50)]
    words += ["--cuda-graph-bs", *map(str, GRAPHS), *one.flags]
    cache = {"SGLANG_ADAPTIVE_MOE_CACHE": str(asked.work / f"cache-{one.name}")}
    quiet = {"SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    with log(one, asked.work).open("wb") as out:
        one.process = subprocess.Popen(
            words, stdout=out, stderr=out, env=os.environ | cache | quiet, start_new_session=True
        )


def log(one: Server, work: Path) -> Path:
    """Where a server's processes write."""
    return work / f"{one.model}-{one.name}.log"


def wait(one: Server, until: float) -> str:
    """Until it serves ("ready"), has gone ("gone") or the time is up ("late")."""
    assert one.process is not None
    while time.time() < until:
        if one.process.poll() is not None:
            return "gone"
        try:
            with urllib.request.urlopen(one.url("/health_generate"), timeout=30) as answer:
                if answer.status == 200:
                    return "ready"
        except OSError:
            pass
        time.sleep(0.5)
    return "late"


def ask(one: Server, prompts: list[list[int]], tokens: int) -> list[dict[str, Any]]:
    """Greedy answers with the log probabilities of all tokens, those of the prompts too."""
    sampling = {"temperature": 0, "max_new_tokens": tokens, "ignore_eos": True}
    body = {"input_ids": prompts, "sampling_params": sampling, "return_logprob": True, "logprob_start_len": 0}
    found: list[dict[str, Any]] = post(one, "/generate", body)
    return found


def post(one: Server, path: str, body: Mapping[str, Any]) -> Any:
    """What it answers, of JSON where it is that."""
    request = urllib.request.Request(
        one.url(path), json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        text = answer.read().decode()
    return json.loads(text) if text[:1] in "[{" else text


def prompt(tokens: int) -> list[int]:
    """Random tokens, the same for every server."""
    return random.Random(tokens).choices(range(3, VOCABULARY), k=tokens)


def calls(one: Server) -> dict[str, int]:
    """The counter of the chosen backends, as /metrics has it."""
    with urllib.request.urlopen(one.url("/metrics"), timeout=30) as answer:
        return said.counted(answer.read().decode())


def flush(one: Server) -> None:
    """Two small batches: one is published with the next one's statistics, so what came before them is."""
    for _ in range(2):
        ask(one, [prompt(min(PROMPTS))], 1)


def show(one: Server, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What one server shows, step by step."""
    flush(one)
    before = calls(one)
    answers = {tokens: said.logprobs(ask(one, [prompt(tokens)], 8)[0]) for tokens in PROMPTS}
    yield {"answers": answers}
    flush(one)
    yield {"calls": said.more(before, calls(one)), "layers": LAYERS}
    if one.name in ("adaptive", "auto"):
        yield {"kernels": {str(size): kernels(one, size, asked.work) for size in GRAPHS}}


def kernels(one: Server, size: int, work: Path) -> dict[str, int]:
    """Which MoE kernels ran on the GPU in a few steps that decode `size` requests, as PyTorch's profiler saw them."""
    folder = work / f"trace-{one.model}-{one.name}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"output_dir": str(folder), "num_steps": STEPS, "activities": ["GPU"], "profile_by_stage": True}
    post(one, "/start_profile", asked)
    ask(one, [prompt(16)] * size, 3 * STEPS)
    until = time.time() + 15
    while time.time() < until:
        for trace in folder.glob("*DECODE*.trace.json.gz"):
            with suppress(EOFError, ValueError):
                return said.moe_kernels(trace.read_bytes())
        time.sleep(0.5)
    return {}


def run(one: Server, asked: argparse.Namespace, until: float) -> None:
    """Start it, wait, show; what went wrong is written down too."""
    begun = time.time()
    start(one, asked)
    try:
        one.found["state"] = wait(one, until)
        one.found["seconds"] = round(time.time() - begun, 1)
        if one.found["state"] == "ready":
            for step in show(one, asked):
                one.found |= step
    except Exception as error:
        one.found["error"] = repr(error)
    finally:
        assert one.process is not None
        with suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
        one.found["log"] = said.of_interest(log(one, asked.work).read_text(errors="replace"))
    told = {name: value for name, value in one.found.items() if name != "answers"}
    print(one.model, one.name, json.dumps(told)[:1200], flush=True)


def main() -> None:
    """All servers at once; the record is written whenever one has ended."""
    asked = arguments()
    until = time.time() + asked.seconds
    asked.work.mkdir(parents=True, exist_ok=True)
    for name, config in MODELS.items():
        make(asked.work / name, config)
    (asked.work / "glm").mkdir(exist_ok=True)
    (asked.work / "glm" / "config.json").write_text(json.dumps(GLM))
    print(f"models made, {until - time.time():.0f} s left", flush=True)
    chosen = [one for one in servers() if not asked.only or one.name in asked.only.split(",")]
    with ThreadPoolExecutor(len(chosen)) as pool:
        for _ in as_completed([pool.submit(run, one, asked, until) for one in chosen]):
            write(chosen, asked.out)


def write(chosen: list[Server], out: Path) -> None:
    """What all of them showed so far."""
    rows = [
        {"model": one.model, "server": one.name, "flags": one.flags, "refused": one.refused, **one.found}
        for one in chosen
    ]
    out.write_text(json.dumps({"threshold": THRESHOLD, "graphs": GRAPHS, "servers": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
