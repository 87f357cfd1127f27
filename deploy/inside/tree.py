"""Reads and writes the files of a tree, all or nothing. Decides nothing about content."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import Manifest, PatchError, Problem
from deploy.inside.plan import Plan, plan

WAITING = ".sglang-spark"
"""The end of the name of a file that waits beside its place."""


class HalfWrittenError(OSError):
    """Some files are changed and could not be taken back; to apply again completes the tree."""


def paths(manifest: Manifest) -> list[str]:
    """All that is to be read of a tree."""
    return [*manifest.edits, *manifest.added, JOURNAL]


def read_tree(tree: Path, manifest: Manifest) -> dict[str, bytes]:
    """The files of the tree that the manifest speaks of, as far as they are there."""
    return {path: (tree / path).read_bytes() for path in paths(manifest) if (tree / path).is_file()}


def apply(tree: Path, manifest: Manifest, *, allow_unknown_base: bool = False, dry_run: bool = False) -> Plan:
    """Patch the tree; of two that do so at once, the second waits. Raises PatchError, OSError."""
    with _locked(tree / "sglang"):
        todo = plan(read_tree(tree, manifest), manifest, allow_unknown_base=allow_unknown_base)
        if not dry_run:
            write_all(tree, todo.writes)
    return todo


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A lock on the folder itself, which leaves no file behind; where there is none to be had, go on without."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_all(tree: Path, writes: Mapping[str, bytes]) -> None:
    """Write every file beside its place, then rename all into place, in order. What fails is taken back."""
    targets = {path: _target(tree, path) for path in writes}
    waiting: list[tuple[Path, Path]] = []
    replaced: dict[Path, bytes | None] = {}
    new_folders = {target.parent for target in targets.values() if not target.parent.exists()}
    try:
        for target in targets.values():
            _clear(target)
        for path, content in writes.items():
            waiting.append((_beside(targets[path], content), targets[path]))
        for new, target in waiting:
            old = target.read_bytes() if target.exists() else None
            os.replace(new, target)
            replaced[target] = old
    except BaseException:
        _take_back(replaced)
        raise
    finally:
        for new, _ in waiting:
            new.unlink(missing_ok=True)
        for folder in new_folders:
            # One that a file came into stays.
            with contextlib.suppress(OSError):
                folder.rmdir()


def _target(tree: Path, path: str) -> Path:
    """Where the file really lies. Raises PatchError where that is outside: such a file may be shared with others."""
    target, root = (tree / path).resolve(), (tree / path.partition("/")[0]).resolve()
    if not target.is_relative_to(root):
        raise PatchError(Problem(path, "a file of the tree", f"a link to {target}, outside of it: put a copy there"))
    return target


def _beside(target: Path, content: bytes) -> Path:
    """The content in a file of its own beside the target, with the target's mode and owner."""
    target.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=WAITING, dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        like = target.stat() if target.exists() else target.parent.stat()
        os.chmod(name, like.st_mode & 0o777 if target.exists() else 0o644)
        with contextlib.suppress(PermissionError):
            os.chown(name, like.st_uid, like.st_gid)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _clear(target: Path) -> None:
    """What a killed run left behind; and .pyc files, as some installers make such that Python never checks."""
    left = target.parent.glob(f".{target.name}.*{WAITING}")
    for stale in (*left, *(target.parent / "__pycache__").glob(f"{target.stem}.*.pyc")):
        stale.unlink(missing_ok=True)


def _take_back(replaced: Mapping[Path, bytes | None]) -> None:
    try:
        for target, old in reversed(list(replaced.items())):
            if old is None:
                target.unlink(missing_ok=True)
            else:
                os.replace(_beside(target, old), target)
    except OSError as error:
        raise HalfWrittenError(error.errno, f"{error.strerror}; some files are changed: apply again") from error
