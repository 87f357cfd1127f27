"""A name looked up: its repository, the digest under it, and the image in it for one platform. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.errors import RegistryError
from deploy.registry.client import Registry
from deploy.registry.manifest import Manifest, chosen, fits, platform_of
from deploy.registry.name import Name, parse
from deploy.registry.patience import BRIEF, Patience
from deploy.registry.repository import Repository


@dataclass(frozen=True)
class Found:
    """An image for one platform; `config` as the registry has it.

    `named`: the digest under its name, which is an index's where that stands for several platforms.
    """

    manifest: Manifest
    config: bytes
    named: str


@contextmanager
def repository(name: Name, patience: Patience | None = None) -> Iterator[Repository]:
    """The repository of a name, with a connection of its own."""
    with Registry(name.host, patience) as registry:
        yield Repository(registry, name.repository)


def digest(reference: str) -> str:
    """The digest (sha256:...) under [HOST/]NAME[:TAG], "" where the registry has none. Raises RegistryError."""
    name = parse(reference)
    with repository(name, BRIEF) as asked:
        return asked.digest(name.reference)


def resolve(reference: str) -> str:
    """The digest (sha256:...) that the registry has under [HOST/]NAME[:TAG]. Raises RegistryError, ConfigError."""
    name = parse(reference)
    with repository(name, BRIEF) as asked:
        # A GET where there is nothing: its answer says why.
        return asked.digest(name.reference) or asked.manifest(name.reference).digest


def image(source: Repository, reference: str, platform: str) -> Found:
    """The image for OS/ARCHITECTURE[/VARIANT] under a tag or digest. Raises RegistryError with what there is."""
    what = f"{source}{'@' if ':' in reference else ':'}{reference}"
    named = manifest = source.manifest(reference)
    if named.is_index:
        manifest = source.manifest(chosen(manifest, platform, what).digest)
    if manifest.is_index:
        raise RegistryError(f"{what}: an index within an index", "name the image itself by its digest")
    config = source.content(manifest.config)
    try:
        found = platform_of(json.loads(config))
    except (ValueError, AttributeError):
        raise RegistryError(f"{what}: its config is no JSON", "this needs an image, not another artifact") from None
    if not fits(found, platform):
        hint = "set image.platform to what the nodes are, and image.base to an image that exists for it"
        raise RegistryError(f"{what}: it is for {found or 'no platform'}, not for {platform}", hint)
    return Found(manifest, config, named.digest)
