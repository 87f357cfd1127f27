"""Whole servers with the patch set adaptive-moe on this host's GPU, beside SGLang's own backends; writes what was seen.

    python3 -m tests.gpu.adaptive_servers --tree TREE --own PACKAGES --out FILE [--seconds N]

All of them run at once, so times mean nothing here. What is stood in for: adaptive_tree.py, adaptive_operators.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu import adaptive_said as said
from tests.gpu import adaptive_tree
from tests.gpu.adapt import Launch
from tests.gpu.adaptive_models import LAYERS, MODELS, VOCABULARY, make
from tests.gpu.observe import post
from tests.gpu.prepare import CONFIG as GLM
from tests.gpu.ranks import Quiet, answer, none_left, page, until

ROOT = Path(__file__).parents[2]

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


@dataclass(frozen=True)
class Server:
    """One server: a backend alone, or adaptive with a threshold; `refused` where it may not start."""

    name: str
    model: str
    flags: tuple[str, ...]
    port: int
    refused: bool = False
    found: dict[str, Any] = field(default_factory=dict)


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
    parser = adaptive_tree.parser("adaptive_servers")
    parser.add_argument("--seconds", type=float, default=200, help="until when a server has to serve")
    parser.add_argument("--work", type=Path, default=Path("/tmp/adaptive-servers"), help="models, logs and traces")
    parser.add_argument("--only", help="names of servers, by commas")
    return parser.parse_args()


def launch(one: Server, asked: argparse.Namespace) -> Launch:
    """How it is started."""
    words = [sys.executable, "-m", "tests.gpu.adaptive_serve", str(asked.tree.absolute()), str(asked.own.absolute())]
    words += ["--model-path", str(asked.work / one.model), *FLAGS.split(), "--port", str(one.port)]
    # Else SGLang draws one, and two servers of a host may draw the same.
    words += ["--nccl-port", str(one.port + 50)]
    words += ["--cuda-graph-bs", *map(str, GRAPHS), *one.flags]
    environment = {
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        "SGLANG_ADAPTIVE_MOE_CACHE": str(asked.work / f"cache-{one.name}"),
        "SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return Launch(0, tuple(words), environment, one.port)


def ask(one: Server, prompts: list[list[int]], tokens: int) -> list[dict[str, Any]]:
    """Greedy answers with the log probabilities of all tokens, those of the prompts too."""
    sampling = {"temperature": 0, "max_new_tokens": tokens, "ignore_eos": True}
    body = {"input_ids": prompts, "sampling_params": sampling, "return_logprob": True, "logprob_start_len": 0}
    found: list[dict[str, Any]] = json.loads(str(post(one.port, "/generate", body, 120)["body"]))
    return found


def prompt(tokens: int) -> list[int]:
    """Random tokens, the same for every server."""
    return random.Random(tokens).choices(range(3, VOCABULARY), k=tokens)


def calls(one: Server) -> dict[str, int]:
    """The counter of the chosen backends, as /metrics has it."""
    return said.counted(page(one.port, "/metrics", 30))


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
    post(one.port, "/start_profile", asked, 30)
    ask(one, [prompt(16)] * size, 3 * STEPS)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        for trace in folder.glob("*DECODE*.trace.json.gz"):
            with suppress(EOFError, ValueError):
                return said.moe_kernels(trace.read_bytes())
        time.sleep(0.5)
    return {}


def run(one: Server, asked: argparse.Namespace, end: float) -> None:
    """Start it, wait, show; what went wrong is written down too."""
    rank = Quiet(launch(one, asked), (asked.work / f"{one.model}-{one.name}.log").absolute(), time.monotonic())
    with none_left([rank]):
        came = until(lambda: rank.exit is not None or ready(one), end - time.monotonic(), 0.5)
        one.found["state"] = "gone" if rank.exit else "ready" if came else "late"
        one.found["seconds"] = round(rank.now(), 1)
        try:
            for step in show(one, asked) if one.found["state"] == "ready" else ():
                one.found.update(step)
        except Exception as error:
            one.found["error"] = repr(error)
    one.found["log"] = said.of_interest([line for _, line in rank.lines])
    told = {name: value for name, value in one.found.items() if name != "answers"}
    print(one.model, one.name, json.dumps(told)[:1200], flush=True)


def ready(one: Server) -> bool:
    """It answers with a token."""
    return answer(one.port, "/health_generate", 30) == 200


def main() -> None:
    """All servers at once; the record is written whenever one has ended."""
    asked = arguments()
    end = time.monotonic() + asked.seconds
    asked.work.mkdir(parents=True, exist_ok=True)
    for name, config in MODELS.items():
        make(asked.work / name, config)
    (asked.work / "glm").mkdir(exist_ok=True)
    (asked.work / "glm" / "config.json").write_text(json.dumps(GLM))
    host = adaptive_tree.host(asked.tree)
    print(f"models made, {end - time.monotonic():.0f} s left", flush=True)
    chosen = [one for one in servers() if not asked.only or one.name in asked.only.split(",")]
    with ThreadPoolExecutor(len(chosen)) as pool:
        for _ in as_completed([pool.submit(run, one, asked, end) for one in chosen]):
            write(chosen, host, asked.out)


def write(chosen: list[Server], host: dict[str, str], out: Path) -> None:
    """What all of them showed so far."""
    rows = [
        {"model": one.model, "server": one.name, "flags": one.flags, "refused": one.refused, **one.found}
        for one in chosen
    ]
    record = {**host, "threshold": THRESHOLD, "graphs": GRAPHS, "servers": rows}
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
