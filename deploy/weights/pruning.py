"""What of a model on this machine a commit does not need, and its removal. Knows no users of it; Python 3.10 alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.weights.cache import ModelCache


@dataclass(frozen=True)
class Unneeded:
    """A file or a folder, and the bytes that its removal gives back."""

    path: Path
    size: int


def unneeded(cache: ModelCache, keep: str) -> list[Unneeded]:
    """Everything but the snapshot of the commit `keep`, the blobs behind it and what names it; without it, all."""
    if not keep:
        return [_measured(cache.folder)]
    snapshot = cache.snapshots / keep
    kept = {link.resolve() for link in snapshot.rglob("*") if link.is_symlink()}
    others = [one for one in _in(cache.snapshots) if one != snapshot]
    refs = [one for one in (cache.folder / "refs").rglob("*") if one.is_file() and one.read_text().strip() != keep]
    blobs = [one for one in _in(cache.blobs) if one.resolve() not in kept]
    ours = [one for one in _in(cache.ours) if one.name not in ("lock", f"{keep}.json") and _has_files(one)]
    return [_measured(one) for one in (*refs, *others, *blobs, *ours)]


def remove(cache: ModelCache, found: list[Unneeded], *, whole: bool) -> None:
    """Remove them, names before contents, so that what is left over after a fault is taken for no model."""
    if whole:
        for name in ("refs", "snapshots", "blobs"):
            shutil.rmtree(cache.folder / name, ignore_errors=True)
    for one in found:
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink()


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _has_files(path: Path) -> bool:
    return not path.is_dir() or any(not one.is_dir() for one in path.rglob("*"))


def _measured(path: Path) -> Unneeded:
    """Blocks on the disk, since a file may have holes; links hold nothing."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
    return Unneeded(path, sum(one.lstat().st_blocks * 512 for one in files if not one.is_dir()))
