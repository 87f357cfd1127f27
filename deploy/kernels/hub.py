"""A model's config.json on this machine: a file, a folder, the Hugging Face cache, or what the project recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.kernels.models import ModelError

RECORDED = Path(__file__).parent / "recorded"
_MAX_BYTES = 8 << 20


def config(name: str, revision: str | None = None) -> tuple[Mapping[str, Any], str]:
    """config.json of a path or a hub name, and where it was found. Raises ModelError; downloads nothing."""
    try:
        path = next((one for one in _places(name, revision or "main") if one.is_file()), None)
    except OSError as error:
        raise ModelError(f"{name}: {error.strerror}", "name a model, its folder or its config.json") from None
    if path:
        return _read(path), str(path)
    hint = (
        f"download its config.json (hf download {name} config.json; a gated model's after hf auth login), "
        "or name a local folder"
    )
    raise ModelError(f"{name}: no config.json of it is on this machine", hint)


def _places(name: str, revision: str) -> Iterator[Path]:
    given = Path(name).expanduser()
    yield from (given, given / "config.json")
    yield from _snapshot(given, revision)
    if name.count("/") == 1:
        yield from _snapshot(_cache() / f"models--{name.replace('/', '--')}", revision)
    if "/" in name and not name.startswith(("/", ".", "~")):
        yield RECORDED / f"{name.replace('/', '--')}.json"


def _snapshot(model: Path, revision: str) -> Iterator[Path]:
    """In the cache's layout: refs name a commit, snapshots hold its files."""
    snapshots, ref = model / "snapshots", model / "refs" / revision
    if not snapshots.is_dir():
        return
    commit = ref.read_text(encoding="ascii", errors="replace").strip() if ref.is_file() else revision
    if commit not in ("", ".", "..") and "/" not in commit:
        yield snapshots / commit / "config.json"


def _cache() -> Path:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "is no JSON text"
        raise ModelError(f"{path}: {reason}", "name a model's config.json, or its folder") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: is no model's configuration", "name a model's config.json, or its folder")
    return value
