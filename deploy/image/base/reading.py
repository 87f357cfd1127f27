"""Reads what is wanted of a base out of its registry, and keeps it in the user's cache. Knows no patch."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, cast

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image.base.place import Place
from deploy.image.base.scan import scan
from deploy.image.base.sight import Base, File, Sight, Wanted, enough, hinted, merged
from deploy.registry.transfer import Meter
from deploy.store import cache, keep

SMALL = 32 << 20
"""Bytes of a layer that is read to its end rather than left as soon as enough is found."""


def known(place: Place, wanted: Wanted, *, whole: bool = False, checked: bool = False) -> Generator[Event, None, Base]:
    """From the cache, else from the registry: as much as is needed, or every layer. Raises BuildError, RegistryError.

    `checked`: leave no layer before its checksum is known.
    """
    for folder in kept_at(place.manifest.digest, wanted)[: 1 if whole else 2]:
        if kept := load(folder):
            return kept
    found = yield from _read(place, wanted, whole=whole, early=not (whole or checked))
    to = kept_at(place.manifest.digest, wanted)[1 if found.unread else 0]
    keep(to, lambda new: (new / "base.json").write_text(dumped(found), encoding="utf-8"))
    return found


def kept_at(digest: str, wanted: Wanted) -> tuple[Path, Path]:
    """Where the cache has what was read whole, and what was read in part."""
    asked = hashlib.sha256(json.dumps(asdict(wanted), sort_keys=True).encode()).hexdigest()[:16]
    above = cache() / "bases" / digest.replace(":", "-")
    return above / asked, above / f"{asked}-part"


def load(folder: Path) -> Base | None:
    """What is kept there; None where there is nothing that can be read."""
    try:
        raw = json.loads((folder / "base.json").read_text(encoding="utf-8"))
        files = {
            path: File(base64.b64decode(one["content"]), one["mode"], one["layer"])
            for path, one in raw["files"].items()
        }
        compiled, folders, nccl = (tuple(map(str, raw[name])) for name in ("compiled", "folders", "nccl"))
        return Base(files, compiled, folders, nccl, str(raw["python"]), int(raw["unread"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def dumped(base: Base) -> str:
    """The same as text."""
    files = {path: {**vars(one), "content": base64.b64encode(one.content).decode()} for path, one in base.files.items()}
    return json.dumps({**vars(base), "files": files}, indent=1)


def _read(place: Place, wanted: Wanted, *, whole: bool, early: bool) -> Generator[Event, None, Base]:
    """Layer by layer. Raises BuildError where a file that must be there is not."""
    sights: dict[int, Sight] = {}
    count = len(place.manifest.layers)
    for at in _order(place, wanted):
        found, _ = merged(sights, wanted, count)
        if whole or not enough(found, wanted) or _matters(place, at, sights):
            sights[at] = yield from _sight(place, at, wanted, sights, early=early)
    found, odd = merged(sights, wanted, count)
    _check(place, found, odd, wanted)
    if found.unread:
        yield Note(f"{found.unread} of the base's {count} layers were not read to their end; `build --lock` reads all")
    return found


def _order(place: Place, wanted: Wanted) -> Iterator[int]:
    """Where the history says that SGLang was copied, then from the top."""
    count = len(place.manifest.layers)
    first = hinted(place.history, wanted.tree, count)
    yield from first
    yield from (at for at in reversed(range(count)) if at not in first)


def _matters(place: Place, at: int, sights: Mapping[int, Sight]) -> bool:
    """A small layer above one that was read may change what that one has."""
    return bool(sights) and at > min(sights) and place.manifest.layers[at].size <= SMALL


def _sight(
    place: Place, at: int, wanted: Wanted, sights: Mapping[int, Sight], *, early: bool
) -> Generator[Event, None, Sight]:
    """One layer; left early only where it is large, and all that is needed is there."""
    layer = place.manifest.layers[at]
    count = len(place.manifest.layers)

    def stop(now: Sight) -> bool:
        return bool(now.files or now.nccl) and enough(merged({**sights, at: now}, wanted, count)[0], wanted)

    task = f"reading layer {at + 1} of {count} of the base"
    with place.repository.blob(layer.digest, layer.size) as blob:
        looking = scan(
            cast("IO[bytes]", blob),
            layer.media_type,
            layer.digest,
            wanted,
            *([stop] if early and layer.size > SMALL else []),
        )
        sight = yield from _told(looking, task, layer.size)
    return sight


def _told(looking: Generator[int, None, Sight], task: str, size: int) -> Generator[Event, None, Sight]:
    """How far it is, in bytes, with the rate."""
    meter, at = Meter(task, size), 0
    try:
        while True:
            at = next(looking)
            yield meter.progress(at)
    except StopIteration as end:
        if at:
            yield meter.progress(size)
        sight: Sight = end.value
        return sight


def _check(place: Place, found: Base, odd: Mapping[str, str], wanted: Wanted) -> None:
    """Raises BuildError with what was found instead."""
    name = f"{place.repository.name}@{place.manifest.digest}"
    if odd:
        path, what = next(iter(sorted(odd.items())))
        raise BuildError(f"{name}: /{path} is {what}", "build with --engine docker, which follows it, and push")
    lacking = [path for path in wanted.needed if path not in found.files]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        hint = "image.base must carry SGLang there, as lmsysorg/sglang:spark does"
        raise BuildError(f"{name}: no /{wanted.tree}/{lacking[0]}{more} in any of its layers", hint)
    if wanted.nccl and not found.nccl:
        hint = "set image.nccl to null, which leaves the base's own NCCL, or build with --engine docker"
        raise BuildError(f"{name}: has no package nvidia-nccl-cu13 that could be replaced", hint)
