"""`build` by one engine or another, and `push`: how an image comes to be where it is wanted. Makes nothing itself."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.errors import ConfigError
from deploy.event import Event
from deploy.image import append, buildx, engine
from deploy.image.order import Order

if TYPE_CHECKING:
    from deploy.workflow.attest import Seal

APPEND, DOCKER, BUILDX = "append", "docker", "buildx"
ENGINES = (APPEND, DOCKER, BUILDX)


@dataclass(frozen=True)
class Build:
    """How to build: `into_registry`, or for the Docker Engine here; `again` where it is there already; what is put
    beside it in the registry then."""

    engine: str
    into_registry: bool
    again: bool
    lock: Path
    seal: Seal | None = None


def chosen(named: str | None, *, into_registry: bool) -> str:
    """The engine: the one that was named, else the cheapest for where the image goes. Raises ConfigError."""
    if named == APPEND and not into_registry:
        hint = "add --push, or take --engine docker for an image in the Docker Engine here"
        raise ConfigError("the append engine writes into the registry, and knows no Docker Engine", hint)
    return named or (APPEND if into_registry else DOCKER)


def build(order: Order, wanted: Build) -> Generator[Event, None, str]:
    """What the image is called then: REPOSITORY@DIGEST in the registry, else REPOSITORY:TAG. Raises BuildError."""
    if wanted.engine == APPEND:
        digest = yield from append.build(order, wanted.lock, again=wanted.again)
    elif wanted.engine == BUILDX:
        digest = yield from buildx.build(order, again=wanted.again, push=wanted.into_registry)
    else:
        yield from engine.build(order, again=wanted.again)
        digest = (yield from engine.push(order.reference)) if wanted.into_registry else ""
    if not digest:
        return order.reference
    reference = f"{order.image.repository}@{digest}"
    return (yield from _sealed(order, reference, wanted.seal)) if wanted.seal else reference


def _sealed(order: Order, reference: str, seal: Seal) -> Generator[Event, None, str]:
    # It imports cryptography, which takes its time.
    from deploy.workflow.attest import sealed

    return (yield from sealed(order, reference, seal, os.environ))


def push(order: Order) -> Generator[Event, None, str]:
    """From the Docker Engine here; REPOSITORY@DIGEST. Raises BuildError."""
    digest = yield from engine.push(order.reference)
    return f"{order.image.repository}@{digest}"


def lock(order: Order, path: Path) -> Generator[Event, None, str]:
    """Write down what is known of the base; the path. Raises BuildError, ConfigError."""
    return str((yield from append.lock(order, path)))
