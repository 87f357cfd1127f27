"""What this machine's GPU is, what drives it, and the most that it was seen to do. Times no kernel of SGLang's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import triton

DRIVER = Path("/proc/driver/nvidia/version")
REPEATS = 10


def facts(dtype: torch.dtype) -> dict[str, Any]:
    """The GPU, its software, bytes a second, and operations a second in products of this 16-bit type."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "capability": [properties.major, properties.minor],
        "gpus": torch.cuda.device_count(),
        "processors": properties.multi_processor_count,
        "driver": _driver(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "bandwidth": _bandwidth(),
        "operations": _operations(dtype),
    }


def mark() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def best_of(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds that the GPU took, the least of some repeats."""
    seconds = []
    for _ in range(repeats + 1):
        first, second = mark(), mark()
        first.record()
        work()
        second.record()
        second.synchronize()
        seconds.append(first.elapsed_time(second) / 1000)
    return float(min(seconds[1:]))


def _driver() -> str:
    """The kernel module's version; empty where the machine does not say."""
    try:
        found = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", DRIVER.read_text())
    except OSError:
        return ""
    return found[0] if found else ""


def _bandwidth() -> float:
    """Bytes a second, read from memory: the best of several ways to read, since each leaves some of it unused."""
    return max(nbytes / best_of(work) for nbytes, work in _readings())


def _readings() -> Iterator[tuple[int, Callable[[], object]]]:
    """Bytes, and the work that moves them."""
    one, other = (torch.ones(1 << 29, device="cuda", dtype=torch.float32) for _ in range(2))
    yield one.nbytes, one.sum
    yield one.nbytes, one.max
    yield 2 * one.nbytes, lambda: torch.dot(one, other)
    yield 2 * one.nbytes, lambda: other.copy_(one)


def _operations(dtype: torch.dtype) -> float:
    """Operations a second of a large product."""
    size = 4096
    one, other = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / best_of(lambda: one @ other)
