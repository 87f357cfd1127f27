"""Which files this checkout puts into an image, by checksum. Reads the project's folder and no image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.spec import Image
from deploy.image import layout, patched
from deploy.image.context import Context, build_context
from deploy.inside.journal import JOURNAL


@dataclass(frozen=True)
class Expected:
    """What a recipe stands for: `files` must be there; `patched` may be, and are then one of these, or anything where
    there is none. Paths in the image without a leading slash, checksums as SHA-256 in hex."""

    recipe: str
    files: Mapping[str, str]
    patched: Mapping[str, frozenset[str]]


def expected(image: Image, root: Path) -> Expected:
    """For this image. Raises ConfigError where a part of the project is missing."""
    return made_of(image, build_context(image, root), root)


def made_of(image: Image, context: Context, root: Path) -> Expected:
    """For an image whose context is at hand."""
    placed = layout.placed(image, context)
    files = {path: hashlib.sha256(one.content).hexdigest() for path, one in placed.items()}
    return Expected(context.recipe, files, _patched(image, root))


def _patched(image: Image, root: Path) -> dict[str, frozenset[str]]:
    """SGLang's files that a patch changes or adds, and the journal of that."""
    known = patched.manifest(root / "patches", image.patches)
    anything: frozenset[str] = frozenset()
    edited = {path: frozenset(one.after for one in known.known.get(path, {}).values()) for path in known.edits}
    if "unknown-base" in image.allow:
        edited = dict.fromkeys(edited, anything)
    added = {path: frozenset({hashlib.sha256(content).hexdigest()}) for path, content in known.added.items()}
    return {f"{layout.ROOT}/{path}": sums for path, sums in {JOURNAL: anything, **edited, **added}.items()}
