"""The files of a locked base without reading the base, where they are to be had elsewhere. Judges them by checksum."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image.base.lock import Locked
from deploy.image.base.place import Place
from deploy.image.base.reading import kept_at, known, load
from deploy.image.base.sight import Wanted
from deploy.inside.manifest import Manifest, sha256
from deploy.store import package


def contents(place: Place, wanted: Wanted, lock: Locked, patches: Manifest) -> Generator[Event, None, dict[str, bytes]]:
    """From the cache, from PyPI's sglang of the version that has such files, or from the base. Raises BuildError."""
    for folder in kept_at(place.manifest.digest, wanted):
        if (kept := load(folder)) and (found := _fitting(lock, {p: f.content for p, f in kept.files.items()})):
            return found
    for version in versions(lock, patches):
        if found := _packaged(version, lock):
            yield Note(f"the base's files are those of sglang {version}, by checksum: the base is not read")
            return found
    base = yield from known(place, replace(wanted, nccl=False))
    return {path: base.files[path].content for path in lock.files if path in base.files}


def versions(lock: Locked, patches: Manifest) -> list[str]:
    """The releases of which all locked files may be, as far as patches/ knows."""
    of = [
        {name for name, state in patches.known.get(path, {}).items() if state.before == one.before}
        for path, one in lock.files.items()
    ]
    return sorted(set.intersection(*of)) if of else []


def _packaged(version: str, lock: Locked) -> dict[str, bytes]:
    """From PyPI, or nothing: the base has them all the same."""
    try:
        folder = package("sglang", version)
        return _fitting(lock, {path: (folder / path).read_bytes() for path in lock.files})
    except (BuildError, OSError):
        return {}


def _fitting(lock: Locked, found: Mapping[str, bytes]) -> dict[str, bytes]:
    """The locked files, all of them or none."""
    fit = {path: found[path] for path, one in lock.files.items() if path in found and sha256(found[path]) == one.before}
    return fit if len(fit) == len(lock.files) else {}
