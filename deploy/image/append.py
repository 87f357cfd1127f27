"""The append engine: an image made of its base's manifest and new layers, in registries alone. Runs nothing."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BuildError, ConfigError
from deploy.event import Event, Note
from deploy.image import layout, patched, squeezed
from deploy.image.base import lock as locks
from deploy.image.base.contents import contents
from deploy.image.base.place import Place, find
from deploy.image.base.reading import known
from deploy.image.base.sight import Base, Wanted
from deploy.image.dockerfile import built_for_text, split_base
from deploy.image.layer import write
from deploy.image.order import RECIPE_LABEL, Order, may_move
from deploy.image.squeezed import Ready
from deploy.inside.check import VARIABLE
from deploy.inside.manifest import Manifest as Patches
from deploy.inside.patch import written
from deploy.inside.plan import Plan
from deploy.registry.client import Registry
from deploy.registry.manifest import OCI, Addition, Layer, Manifest, appended
from deploy.registry.name import parse
from deploy.registry.repository import Repository, of_bytes
from deploy.registry.transfer import copied, sent

SMALL = 4 << 20
"""Bytes that are sent before anybody would look how far it is."""
BY = "build-and-deploy.py build --engine append: "


@dataclass(frozen=True)
class Ground:
    """What an image is laid on: the base in its registry, what matters of it, and what the patches make of its files.

    `digest` is that under which the base was named, which may be an index's.
    """

    place: Place
    digest: str
    base: Base
    plan: Plan


def build(order: Order, lock: Path, *, again: bool = False) -> Generator[Event, None, str]:
    """Append to the base and push, unless the registry has the recipe already; returns the digest.

    Raises BuildError, ConfigError.
    """
    name = parse(order.reference)
    with _registries(order) as (source, target):
        there = target.digest(name.tag)
        if there and not again:
            yield Note(f"{order.reference} is in the registry already: nothing to build", "done")
            return there
        ground = yield from _ground(order, source, lock)
        layers = yield from _layers(order, ground)
        yield from copied(ground.place.repository, target, ground.place.manifest)
        digest = yield from _pushed(order, ground, layers, target)
        if there and there != digest:
            yield Note(f"the registry had another build of {order.reference} ({there}); the tag moved", "warning")
        yield Note("its self-test was not run here: every node runs it before the first start")
        yield Note(f"appended to {order.image.base}: {', '.join(one.what for one in layers)}")
        yield Note(f"pushed {order.reference}: {digest}", "done")
        return digest


def lock(order: Order, path: Path) -> Generator[Event, None, Path]:
    """Read every layer of the base, and write down what is known of it. Raises BuildError, ConfigError."""
    with _registries(order) as (source, _), _patches(order) as patches:
        place, _ = find(source, order.image)
        wanted = layout.wanted(order.image, order.context, patches)
        old = locks.read(path).get(place.manifest.digest)
        if old and set(wanted.needed) <= set(old.files) and set(wanted.folders) <= set(old.folders):
            base = old.base((yield from contents(place, wanted, old, patches)))
        else:
            base = yield from known(place, wanted, whole=True)
        plan = _planned(order, base, patches)
        name = split_base(order.image.base)[0]
        locks.write(path, place.manifest.digest, locks.locked(name, base, wanted, plan.writes))
    yield Note(f"wrote {path}: {len(base.files)} files of {name}@{place.manifest.digest}", "done")
    return path


@contextmanager
def _registries(order: Order) -> Iterator[tuple[Repository, Repository]]:
    """The repositories of the base and of the image; one session where both are in one registry."""
    base, image = parse(order.image.base), parse(order.reference)
    with ExitStack() as stack:
        there = stack.enter_context(Registry(base.host))
        here = there if base.host == image.host else stack.enter_context(Registry(image.host))
        yield Repository(there, base.repository), Repository(here, image.repository)


@contextmanager
def _patches(order: Order) -> Iterator[Patches]:
    """The very files that go into the image, read by the code that reads them there."""
    with tempfile.TemporaryDirectory() as folder:
        for path in order.context.sources:
            if path.startswith("patches/"):
                (place := Path(folder, path)).parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(order.context.files[path].content)
        yield patched.manifest(Path(folder, "patches"), order.image.patches)


def _ground(order: Order, source: Repository, lock: Path) -> Generator[Event, None, Ground]:
    with _patches(order) as patches:
        place, digest = find(source, order.image)
        if warning := may_move(order.image.base, digest):
            yield warning
        wanted = layout.wanted(order.image, order.context, patches)
        locked = locks.find(lock, place.manifest.digest, split_base(order.image.base)[0])
        base = yield from _base(order, place, wanted, locked, patches)
        plan = _planned(order, base, patches)
    if locked:
        locks.check(locked, wanted, plan.writes)
    for line in written(plan).splitlines():
        yield Note(line)
    return Ground(place, digest, base, plan)


def _base(
    order: Order, place: Place, wanted: Wanted, locked: locks.Locked | None, patches: Patches
) -> Generator[Event, None, Base]:
    """By the lock, or as it was read. Raises BuildError where it does not fit."""
    if locked:
        base = locked.base((yield from contents(place, wanted, locked, patches)))
    else:
        base = yield from known(place, wanted, checked="unknown-base" in order.image.allow)
    if order.image.tune and base.python and base.python != order.image.python:
        what = f"the base has Python {base.python}, and image.python is {order.image.python}"
        raise BuildError(f"no wheel of the tuning layer fits: {what}", "set image.python to what the base has")
    return base


def _planned(order: Order, base: Base, patches: Patches) -> Plan:
    found = {path: one.content for path, one in base.files.items()}
    allowed = "unknown-base" in order.image.allow
    return patched.planned(order.image.base, found, patches, allow_unknown_base=allowed)


def _layers(order: Order, ground: Ground) -> Generator[Event, None, list[Ready]]:
    """The wheels, which change rarely, and on them the project's own small layer."""
    made = yield from squeezed.wheels(order, ground.base, epoch())
    entries = layout.project(layout.placed(order.image, order.context), ground.base, ground.plan.writes)
    buffer = io.BytesIO()
    packed = write(entries, buffer, epoch() or 0)
    return [*made, Ready(packed, of_bytes(buffer.getvalue()), "kernel tables, patches and self-test")]


def _pushed(order: Order, ground: Ground, layers: list[Ready], target: Repository) -> Generator[Event, None, str]:
    """What the base has not, and last of all the manifest, so that no tag is on half an image."""
    manifest, config = _image(order, ground, layers)
    blobs = [(one.descriptor, one.opened) for one in layers]
    for place, (blob, opened) in enumerate([*blobs, (manifest.config, of_bytes(config))], 1):
        if target.has(blob.digest):
            continue
        if blob.size < SMALL:
            target.upload(blob, opened)
        else:
            yield from sent(target, blob, opened, f"pushing blob {place} of {len(blobs) + 1}")
    return target.put(manifest.raw, manifest.media_type, parse(order.reference).tag)


def _image(order: Order, ground: Ground, layers: list[Ready]) -> tuple[Manifest, bytes]:
    labels = order.labels(ground.digest)
    told = {name: value for name, value in labels.items() if name.startswith("org.opencontainers.image.")}
    told |= {RECIPE_LABEL: labels[RECIPE_LABEL]}
    manifest = ground.place.manifest
    addition = Addition(
        tuple(Layer(one.descriptor, one.packed.diff_id, BY + one.what) for one in layers),
        labels=labels,
        environment={VARIABLE: built_for_text(order.image)},
        # Docker's own kind of manifest has none.
        annotations=told if manifest.media_type == OCI else {},
        created=_created(ground.place.config),
    )
    return appended(manifest, ground.place.raw, addition)


def epoch() -> int | None:
    """SOURCE_DATE_EPOCH in seconds, None where it is not set. Raises ConfigError."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if said and not (said.isascii() and said.isdigit()):
        raise ConfigError(f"SOURCE_DATE_EPOCH: {said!r} is no number of seconds", "unset it, or give it one")
    return int(said) if said else None


def _created(config: Mapping[str, object]) -> str:
    """When the image was made: as old as its base where nobody says otherwise, so that it is the same everywhere."""
    from datetime import UTC, datetime

    seconds = epoch()
    if seconds is None:
        return str(config.get("created") or "1970-01-01T00:00:00Z")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
