"""The layers of wheels: compressed once, and kept in the user's cache by what they are made of. Pushes nothing."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image import layout
from deploy.image.base.sight import Base
from deploy.image.dockerfile import TUNING
from deploy.image.layer import FORM, LEVEL, Entry, Packed, write
from deploy.image.order import Order
from deploy.image.pinned import NCCL, Pinned, at_hand, pinned
from deploy.image.unpacked import entries
from deploy.registry.manifest import LAYERS, OCI, Descriptor
from deploy.registry.repository import Opened, of_file
from deploy.store import cache, keep

FILE, FACTS = "layer.tar.gz", "layer.json"


@dataclass(frozen=True)
class Ready:
    """A layer that can be sent, and what its line in the image's history says."""

    packed: Packed
    opened: Opened
    what: str

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(LAYERS[OCI], self.packed.digest, self.packed.size)


def wheels(order: Order, base: Base, epoch: int | None) -> Generator[Event, None, list[Ready]]:
    """A layer for NCCL and one for Ray, as far as the image has them. Raises BuildError."""
    made = []
    for one in pinned(order.image):
        folder = cache() / "layers" / key(one, order.context.pins[one.pin], base, epoch)
        if (packed := kept(folder)) is None:
            found = yield from at_hand(order.image, order.context.pins)
            mine = [path for place, path in found.items() if posixpath.dirname(place) == posixpath.dirname(one.pin)]
            yield Note(f"compressing the layer of {one.name} (once)")
            packed = _make(folder, _laid(one, mine, base), epoch or 0)
        made.append(Ready(packed, of_file(folder / FILE), _said(one)))
    return made


def key(one: Pinned, pin: bytes, base: Base, epoch: int | None) -> str:
    """Stands for the content of the layer before it is made."""
    about = [FORM, LEVEL, epoch or 0, one.name, one.platform, one.python, pin.decode()]
    about += [list(base.nccl)] if one.kind is NCCL else []
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def kept(folder: Path) -> Packed | None:
    """What the cache has there; None where that is nothing whole."""
    try:
        packed = Packed(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
        return packed if (folder / FILE).stat().st_size == packed.size else None
    except (OSError, ValueError, TypeError):
        return None


def _laid(one: Pinned, found: Sequence[Path], base: Base) -> list[Entry]:
    """Where the Dockerfile would have pip put them."""
    if one.kind is not NCCL:
        return layout.tuning([entry for wheel in found for entry in entries(wheel, TUNING.lstrip("/"))])
    if len({posixpath.dirname(place) for place in base.nccl}) != 1:
        what = f"the base has {NCCL.distribution} in {len(base.nccl)} places: {', '.join(base.nccl)}"
        raise BuildError(what, "build with --engine docker, and see the self-test")
    site = posixpath.dirname(base.nccl[0])
    return layout.nccl(base, [entry for wheel in found for entry in entries(wheel, site)], site)


def _make(folder: Path, laid: Sequence[Entry], epoch: int) -> Packed:
    def fill(new: Path) -> None:
        with (new / FILE).open("wb") as target:
            packed = write(laid, target, epoch)
        (new / FACTS).write_text(json.dumps(vars(packed)), encoding="utf-8")

    try:
        keep(folder, fill)
    except ValueError as error:
        raise BuildError(f"two wheels of one layer have the same file: {error}", "build with --engine docker") from None
    except OSError as error:
        hint = "make room there, or name another folder with XDG_CACHE_HOME"
        raise BuildError(f"{folder}: {error.strerror}", hint) from None
    if (packed := kept(folder)) is None:
        raise BuildError(f"{folder}: is not whole", "remove it; it is made anew")
    return packed


def _said(one: Pinned) -> str:
    return f"{one.kind.title} {one.version}" + (" in place of the base's" if one.kind is NCCL else " for `tune`")
