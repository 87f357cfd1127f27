"""Holds the patch set adaptive-moe against both backends on this host's GPU, and writes down what it found.

    python3 -m tests.gpu.adaptive_run --tree TREE --own PACKAGES --out FILE [--seconds N] [--models N]

Layers, routing and kernels are those of the patched tree; adaptive_tree.py names what is stood in for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.gpu import adaptive_tree

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""The sizes of the table that came with the proposal."""
PORT = 29610
COMPILE = 80
"""Seconds for it; what is not compiled then, the run compiles."""
LATER = 70
"""Seconds that are left for each model after this one: the first has the most weights."""
WARM = ("triton", "view", "triton_kernels", "triton_kernels of few")
"""What is compiled before the times are taken, each by a process of its own."""


def arguments() -> argparse.Namespace:
    """The command line; `--model` is how the run calls itself."""
    parser = adaptive_tree.parser("adaptive_run")
    parser.add_argument("--seconds", type=float, default=400, help="no size is begun later than that")
    parser.add_argument("--models", type=int, default=3, help="the first N of adaptive_layers.MODELS")
    parser.add_argument("--model", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--warm", choices=WARM, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """All models, each in a process of its own; before that all of them at once, to compile."""
    asked = arguments()
    if asked.model is not None:
        one_model(asked)
        return
    from tests.gpu.adaptive_layers import MODELS

    begun = time.time()
    words = [sys.executable, "-m", "tests.gpu.adaptive_run", *sys.argv[1:]]
    models = MODELS[: asked.models]
    parts = [(str(at), part) for at in range(len(models)) for part in WARM]
    warming = [subprocess.Popen([*words, "--warm", part, "--model", at]) for at, part in parts]
    for one in warming:
        try:
            one.wait(max(1, begun + COMPILE - time.time()))
        except subprocess.TimeoutExpired:
            one.kill()
    print(f"compiled in {time.time() - begun:.0f} s", flush=True)
    record: dict[str, Any] = {"models": []}
    for at, model in enumerate(models):
        left = asked.seconds - (time.time() - begun) - LATER * (len(models) - at - 1)
        part = asked.out.with_name(f"{asked.out.name}.{at}")
        subprocess.run([*words, "--model", str(at), "--out", str(part), "--seconds", str(left)], check=False)
        if part.is_file():
            found = json.loads(part.read_text())
            record = {**found["host"], "models": [*record["models"], found["model"]]}
            asked.out.write_text(json.dumps(record, indent=1) + "\n")
            part.unlink()
        print(model.name, f"{time.time() - begun:.0f} s", flush=True)


def one_model(asked: argparse.Namespace) -> None:
    """In its own process, since SGLang's arguments are of a process."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    until = time.time() + asked.seconds
    adaptive_tree.reach(asked.tree, asked.own)
    port = PORT + asked.model + (10 * (1 + WARM.index(asked.warm)) if asked.warm else 0)
    adaptive_tree.start(f"tcp://127.0.0.1:{port}")
    from tests.gpu import adaptive_show as show
    from tests.gpu.adaptive_layers import MODELS
    from tests.gpu.adaptive_tiles import warm

    model = MODELS[asked.model]
    if asked.warm:
        warm(model, asked.warm, SIZES)
        return
    found: dict[str, Any] = {}
    host = adaptive_tree.host(asked.tree)
    for step in steps(show, model, until):
        found |= step
        asked.out.write_text(json.dumps({"host": host, "model": {"model": vars(model), **found}}))
        print(model.name, json.dumps(step)[-600:], flush=True)


def steps(show: Any, model: Any, until: float) -> Iterator[dict[str, Any]]:
    """What is shown of one model, one after the other; each is written down before the next begins."""
    from tests.gpu import adaptive_tiles

    yield {"tiles": adaptive_tiles.trial(model)}
    scene, memory = show.scene(model)
    yield memory
    yield {"selection": show.selection(scene)}
    rows = []
    for tokens in SIZES:
        if time.time() < until:
            rows.append(show.size(scene, tokens))
            yield {"sizes": rows}


if __name__ == "__main__":
    main()
