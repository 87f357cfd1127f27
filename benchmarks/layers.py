"""`bench kernels` for the layers of several models on this machine's GPU: benchmarks/layers.py FOLDER [--seconds S].

With --show it measures nothing, and prints what the results in FOLDER say.

First all of them at once, so that every kernel is compiled and kept; then, with nothing else at work, one after the
other. Each writes its results as it goes; what does not fit into S seconds is left out.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.tune.fused.report import as_text  # noqa: E402
from deploy.tune.fused.result import Cell, Results  # noqa: E402

CONFIGS: dict[str, dict[str, Any]] = {
    "gpt-oss-120b": {
        "architectures": ["GptOssForCausalLM"], "hidden_size": 2880, "intermediate_size": 2880,
        "num_local_experts": 128, "num_experts_per_tok": 4, "torch_dtype": "bfloat16",
    },
    "Mixtral-8x7B": {
        "architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
        "num_local_experts": 8, "num_experts_per_tok": 2, "torch_dtype": "bfloat16",
    },
    "Qwen3-30B-A3B": {
        "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "torch_dtype": "bfloat16",
    },
}  # fmt: skip
"""What decides a layer's shape in these models' config.json; gpt-oss without its MXFP4, as bf16."""
LAYERS = (
    ("glm", "zai-org/GLM-4.7-FP8", "--tp-size", "4"),
    ("gpt-oss-tp1", "gpt-oss-120b", "--tp-size", "1"),
    ("mixtral-tp1", "Mixtral-8x7B", "--tp-size", "1"),
    ("qwen3", "Qwen3-30B-A3B", "--tp-size", "1"),
    ("gpt-oss-tp8", "gpt-oss-120b", "--tp-size", "8"),
    ("mixtral-tp2", "Mixtral-8x7B", "--tp-size", "2"),
    ("qwen3-fp8", "Qwen3-30B-A3B", "--tp-size", "1", "--use-fp8-w8a8"),
    ("mixtral-ep2", "Mixtral-8x7B", "--tp-size", "1", "--ep-size", "2"),
)
WARM = 150.0
"""Seconds for the first part at most."""
LEAST = 25.0
"""Seconds below which no further layer is begun."""


def command(folder: Path, layer: tuple[str, ...], *more: str) -> list[str]:
    """One layer's `bench kernels`."""
    _, model, *words = layer
    named = folder / "models" / f"{model}.json" if model in CONFIGS else model
    program = [sys.executable, str(ROOT / "build-and-deploy.py"), "bench", "kernels", "--sglang", "0.5.4.post3"]
    return [*program, "--model", str(named), *words, *more]


def compiled(folder: Path) -> None:
    """All layers at once, without torch.compile, whose gathered weights would not fit beside each other."""
    running = []
    for layer in LAYERS:
        more = ("--implementations", "sglang,vllm,triton_kernels", "--save-path", str(folder / "warm" / layer[0]))
        with (folder / f"warm-{layer[0]}.txt").open("w") as log:
            running.append(subprocess.Popen(command(folder, layer, *more), stdout=log, stderr=log))
    until = time.monotonic() + WARM
    for one in running:
        try:
            one.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            one.send_signal(signal.SIGINT)  # it ends its process beside the GPU
            one.wait()


def timed(folder: Path, layer: tuple[str, ...], seconds: float) -> str:
    """One layer by itself; how it ended."""
    log = folder / f"{layer[0]}.txt"
    into = ("--save-path", str(folder / layer[0]))
    with log.open("w") as file:
        try:
            done = subprocess.run(command(folder, layer, *into), stdout=file, stderr=file, timeout=seconds)
        except subprocess.TimeoutExpired:
            return "not finished"
    return f"exit code {done.returncode}"


def shown(path: Path) -> str:
    """A record as `bench kernels` prints it; who is the fastest and where lines cross follows from its rounds."""
    told = json.loads(path.read_text())
    results = Results(told["implementations"], told["facts"])
    for size in told["sizes"]:
        results.cells[size["tokens"]] = {name: _cell(fields) for name, fields in size["cells"].items()}
    return f"{told['facts']['title']}, on one {told['facts']['device']}\n{as_text(results)}"


def _cell(fields: dict[str, Any]) -> Cell:
    names = ("error", "table", "skipped", "failed")
    return Cell(tuple(fields["rounds"]), **{name: fields[name] for name in names})


def main() -> None:
    """Both parts, or what they left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    if asked.show:
        print("\n\n".join(shown(path) for path in sorted(asked.folder.glob("*.json"))))
        return
    until = time.monotonic() + asked.seconds
    (asked.folder / "models").mkdir(parents=True)
    for name, config in CONFIGS.items():
        (asked.folder / "models" / f"{name}.json").write_text(json.dumps(config))
    compiled(asked.folder)
    for layer in LAYERS:
        left = until - time.monotonic()
        print(f"{layer[0]}: {timed(asked.folder, layer, left) if left > LEAST else 'left out'}", flush=True)


if __name__ == "__main__":
    main()
