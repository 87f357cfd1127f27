"""Keeps what was measured, a file a shape, device and set of versions. What cannot be read is measured anew."""

import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Dict

import torch

from sglang.srt.adaptive_moe.choice import CALLS

logger = logging.getLogger(__name__)

FOLDER = "SGLANG_ADAPTIVE_MOE_CACHE"
FORMAT = 2
"""1 had no times of graphs."""
MODES = ("eager", "graph")
Key = Dict[str, Any]
Times = Dict[str, Dict[int, Dict[str, float]]]
"""Milliseconds a call, by mode, number of tokens and backend."""


def key(config: Any, weight: torch.Tensor) -> Key:
    """All that the times follow from."""
    import triton

    return {
        "format": FORMAT,
        "experts": config.num_experts,
        "top_k": config.top_k,
        "hidden": config.hidden_size,
        "intermediate": config.intermediate_size_per_partition,
        "dtype": str(weight.dtype),
        "activation": "swiglu" if config.gemm1_alpha is not None else config.activation,
        "device": torch.cuda.get_device_name(weight.device),
        "torch": torch.__version__,
        "triton": triton.__version__,
        **{name: _version(name) for name in ("sglang", "sgl-kernel")},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def name(key: Key) -> str:
    """A file's name, which says the shape; the checksum stands for the whole key."""
    shape = "-".join(f"{part[0]}{key[part]}" for part in ("experts", "top_k", "hidden", "intermediate"))
    return f"{shape}-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]}"


def folder() -> Path:
    """Not made here."""
    return Path(os.environ.get(FOLDER) or "~/.cache/sglang/adaptive_moe").expanduser()


def read(key: Key) -> Times:
    """The times, empty where there are none for this very key."""
    path = folder() / f"{name(key)}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != key:
            return {}
        return {mode: _rows(kept["times"][mode]) for mode in MODES}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.warning("Adaptive MoE: %s cannot be read (%s), so it is measured anew.", path, error)
        return {}


def _rows(kept: Any) -> Dict[int, Dict[str, float]]:
    """Those of one mode. Raises ValueError, TypeError or AttributeError where they are not whole."""
    rows = {int(m): {str(who): float(ms) for who, ms in row.items()} for m, row in kept.items()}
    if not rows or not all(set(row) == set(CALLS) and min(row.values()) > 0 for row in rows.values()):
        raise ValueError("it is not whole")
    return rows


def write(key: Key, times: Times) -> None:
    """Whole or not at all; a folder that cannot be written costs a warning."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place, suffix=".part", delete=False, encoding="utf-8") as file:
            json.dump({"key": key, "times": times}, file, indent=1)
        os.replace(file.name, place / f"{name(key)}.json")
    except OSError as error:
        logger.warning("Adaptive MoE: %s cannot be written (%s).", place, error)
