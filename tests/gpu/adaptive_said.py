"""Reads what a server with the patch set says: its metrics, its answers, its log, and its profiler's traces."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

COUNTER = re.compile(r'^sglang:adaptive_moe_layer_calls_total\{[^}]*backend="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)
KERNELS = {"triton": "fused_moe_kernel", "triton_kernels": "matmul_ogs"}
"""The GEMM of each backend, as a part of its kernels' names."""
Answers = Mapping[Any, list[float]]


def counted(metrics: str) -> dict[str, int]:
    """Layer calls by backend of a text of /metrics."""
    return {backend: int(float(value)) for backend, value in COUNTER.findall(metrics)}


def more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """How much each count grew; what did not is left out."""
    return dict(Counter(after) - Counter(before))


def logprobs(answer: Mapping[str, Any]) -> list[float]:
    """Of an answer: the prompt's tokens after the first, then the new ones."""
    info = answer["meta_info"]
    rows = [*info["input_token_logprobs"][1:], *info["output_token_logprobs"]]
    return [round(float(row[0]), 5) for row in rows]


def apart(one: Answers, other: Answers) -> dict[str, float]:
    """How far two servers' log probabilities of the prompts' tokens lie apart: the mean, and the most."""
    gaps = [
        abs(a - b) for key in one for a, b in zip(one[key][: int(key) - 1], other[key][: int(key) - 1], strict=True)
    ]
    return {"mean": round(sum(gaps) / len(gaps), 5), "most": round(max(gaps), 5)}


def moe_kernels(trace: bytes) -> dict[str, int]:
    """How often the GEMM of each backend ran, by a gzipped Chrome trace of PyTorch's profiler."""
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "kernel"]
    return {backend: sum(part in name for name in names) for backend, part in KERNELS.items()}


def of_interest(lines: Sequence[str]) -> list[str]:
    """The lines of a log that tell of the patch set, and the error that ended a server; else its last lines."""
    own = [line for line in lines if "Adaptive MoE" in line]
    errors = [line for line in lines if re.match(r"^(\w+\.)*\w*(Error|Exception)\b", line)]
    found = [line[:600] for line in dict.fromkeys((*own, *errors))][:40]
    return found or [line[:300] for line in lines[-12:]]
