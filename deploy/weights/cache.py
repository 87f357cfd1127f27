"""One model in a hub's cache on this machine: what of it is there, and how it is put there. Python 3.10 alone.

The layout is huggingface_hub's: blobs by checksum, a folder of links for each commit, and a file for each branch.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.errors import WeightsError
from deploy.weights.manifest import COMMIT, File, Manifest, inside

INCOMPLETE = ".incomplete"
OURS = ".sglang-spark"
"""A folder among the model's that is no part of the hub's layout: manifests, a lock, and what the hub still sends."""


def folder_name(repository: str) -> str:
    """What a hub's cache calls a model's folder."""
    return f"models--{repository.replace('/', '--')}"


class ModelCache:
    """`hub` is the folder that HF_HUB_CACHE names; `~` in it is this user's home."""

    def __init__(self, hub: str, repository: str) -> None:
        self.hub, self.repository = Path(hub).expanduser(), repository
        self.folder = self.hub / folder_name(repository)
        self.blobs, self.snapshots, self.ours = (self.folder / one for one in ("blobs", "snapshots", OURS))
        self.staging = self.ours / "hub"
        """A cache of its own, for huggingface_hub: it takes what it downloads for whole by its size alone."""
        self.staged = self.staging / folder_name(repository) / "blobs"

    def whole(self, file: File, commit: str) -> Path | None:
        """Where the file lies whole, by its size: as a blob, or as a plain file among those of the commit."""
        places = (self.blobs / file.checksum, self.snapshots / commit / file.path)
        return next((one for one in places if _size(one) == file.size), None)

    def part(self, file: File) -> Path:
        """Where another node's bytes of a file go until it is whole."""
        return self.blobs / f"{file.checksum}{INCOMPLETE}"

    def parts(self, file: File) -> tuple[Path, ...]:
        """Where a file may grow: from a node, from the hub, or from the hub and not looked at yet."""
        staged = self.staged / file.checksum
        return self.part(file), staged.with_name(f"{file.checksum}{INCOMPLETE}"), staged

    def present(self, file: File, commit: str) -> int:
        """Bytes of a file that are here."""
        if self.whole(file, commit):
            return file.size
        return min(max(0, *map(_size, self.parts(file))), file.size)

    def keep(self, file: File, path: Path) -> None:
        """Give a file whose checksum is right its name, and only after its content is on the disk."""
        sync(path)
        self.blobs.mkdir(parents=True, exist_ok=True)
        path.replace(self.blobs / file.checksum)

    def place(self, manifest: Manifest, revision: str) -> None:
        """Make the commit's folder, and then let the revision name it. Every blob must be there."""
        folder = self.snapshots / manifest.commit
        # As deep as the folder that it becomes, so that the relative links hold; whoever sees that one sees all of it.
        new = folder if folder.exists() else self.ours / manifest.commit
        for one in manifest.files:
            _link(self.blobs / one.checksum, new / one.path)
        for made in (self.blobs, self.snapshots):
            made.mkdir(parents=True, exist_ok=True)
        sync(self.blobs)
        new.rename(folder)
        self.begin(manifest, revision)
        if revision != manifest.commit:
            _write(self.folder / "refs" / revision, manifest.commit)
        self._begun(revision).unlink(missing_ok=True)

    def release(self, manifest: Manifest) -> None:
        """Give the page cache of the blobs back: on a GPU that shares the machine's memory, a server will want it."""
        for one in manifest.blobs:
            with suppress(OSError), (self.blobs / one.checksum).open("rb") as content:
                os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def begin(self, manifest: Manifest, revision: str) -> None:
        """Note what the revision is to be, so that it is known without the hub however far this one comes."""
        _write(self.ours / f"{manifest.commit}.json", json.dumps(manifest.as_json()))
        if self.commit(revision) != manifest.commit:
            _write(self._begun(revision), manifest.commit)

    def _begun(self, revision: str) -> Path:
        return self.ours / "refs" / revision

    def look(self, revision: str) -> dict[str, Any]:
        """All that is here, as sizes by name; `problem` says why nothing can be put here."""
        folder = self._nearest()
        disk = os.statvfs(folder)
        return {
            "hub": str(self.hub),
            "real": str(self.hub.resolve()),
            "commit": self.commit(revision),
            "begun": _named(self._begun(revision)) if inside(revision) else "",
            "blobs": {path.name: _size(path) for path in _in(self.blobs) if not path.name.endswith(INCOMPLETE)},
            "parts": self._parts(),
            "snapshots": {path.name: self._snapshot(path) for path in _in(self.snapshots)},
            "manifests": [json.loads(path.read_text()) for path in _in(self.ours) if path.suffix == ".json"],
            "free": disk.f_bavail * disk.f_frsize,
            "problem": self._problem(folder),
        }

    def commit(self, revision: str) -> str:
        """The commit that a revision names here, or an empty string."""
        found = _named(self.folder / "refs" / revision) if inside(revision) else ""
        return found or (revision if COMMIT.fullmatch(revision) else "")

    def _nearest(self) -> Path:
        return next(one for one in (self.folder, *self.folder.parents) if one.is_dir())

    def _problem(self, nearest: Path) -> str:
        folders = [one for one in (self.blobs, self.snapshots, self.folder / "refs", self.ours) if one.is_dir()]
        locked = [one for one in (nearest, *folders) if not os.access(one, os.W_OK | os.X_OK)]
        return f"{locked[0]} belongs to another user" if locked else ""

    def _parts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder in (self.blobs, self.staged):
            for path in _in(folder):
                if path.name.endswith(INCOMPLETE) or folder == self.staged:
                    name = path.name.removesuffix(INCOMPLETE)
                    found[name] = max(_size(path), found.get(name, 0))
        return found

    def _snapshot(self, folder: Path) -> dict[str, tuple[str, int]]:
        """Of each file the blob that it is a link to, or nothing, and its size."""
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        return {path.relative_to(folder).as_posix(): (_target(path), _size(path)) for path in files}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else fetches or prunes this model here meanwhile. Raises WeightsError."""
        self.ours.mkdir(parents=True, exist_ok=True)
        with (self.ours / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                what = f"another `model fetch` or `model prune` is at work on {self.folder}"
                raise WeightsError(what, "wait for it, or stop it") from None
            yield


def sync(path: Path) -> None:
    """Until what a file or folder has is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _named(ref: Path) -> str:
    """The commit that a ref names, or an empty string."""
    return ref.read_text().strip() if ref.is_file() else ""


def _size(path: Path) -> int:
    """-1 where there is no file."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else -1
    return -1


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _target(path: Path) -> str:
    return Path(os.readlink(path)).name if path.is_symlink() else ""


def _link(blob: Path, place: Path) -> None:
    """As huggingface_hub links: relative, so that the cache may be moved. A plain file of the right content stays."""
    if not place.is_symlink() and place.is_file() and not blob.exists():
        return
    target = os.path.relpath(blob, place.parent)
    if place.is_symlink() and os.readlink(place) == target:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(place)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    sync(beside)
    beside.replace(path)
