"""A small model, and nodes that have some of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from deploy.weights.cache import ModelCache
from deploy.weights.manifest import File, Manifest
from deploy.weights.plan import Held

COMMIT = "c" * 40
REPOSITORY = "ana/model"
CONTENTS = {
    "config.json": b"{}",
    "model-1.safetensors": b"first" * 1000,
    "model-2.safetensors": b"second" * 1000,
    "sub/empty.txt": b"",
}


def file(path: str, content: bytes) -> File:
    """As a hub tells it: large files by their content, others by their blob in git."""
    if path.endswith(".safetensors"):
        return File(path, len(content), hashlib.sha256(content).hexdigest())
    return File(path, len(content), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


MANIFEST = Manifest(REPOSITORY, COMMIT, tuple(file(path, content) for path, content in CONTENTS.items()))
BY_CHECKSUM = {one.checksum: CONTENTS[one.path] for one in MANIFEST.files}


def cache(folder: Path, *, whole: bool = False) -> ModelCache:
    """A hub's cache, with all blobs and the model in its place, or with nothing."""
    made = ModelCache(str(folder / "hub"), REPOSITORY)
    if whole:
        made.blobs.mkdir(parents=True)
        for checksum, content in BY_CHECKSUM.items():
            (made.blobs / checksum).write_bytes(content)
        made.place(MANIFEST, "main")
    return made


def node(*paths: str, placed: bool = False, **more: Any) -> Held:
    """A node that has these files."""
    blobs = {one.checksum: one.size for one in MANIFEST.files if one.path in paths}
    snapshot = {one.path: (one.checksum, one.size) for one in MANIFEST.files}
    values: dict[str, Any] = {
        "hub": "/hub",
        "real": "/hub",
        "commit": COMMIT if placed else "",
        "begun": "",
        "blobs": blobs,
        "parts": {},
        "snapshots": {COMMIT: snapshot} if placed else {},
        "manifests": (MANIFEST,) if placed else (),
        "free": 1 << 40,
    }
    return Held(**{**values, **more})


WHOLE = tuple(CONTENTS)
