"""Finds the base in its registry, for the platform of the nodes. Reads no layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.registry.manifest import Manifest, chosen, fits, platform_of
from deploy.registry.name import parse
from deploy.registry.repository import Repository


@dataclass(frozen=True)
class Place:
    """A base in its registry: its manifest for the platform, and its config, also as the registry has it."""

    repository: Repository
    manifest: Manifest
    raw: bytes
    config: Mapping[str, Any]

    @property
    def history(self) -> list[Mapping[str, object]]:
        return list(self.config.get("history") or [])


def find(source: Repository, image: Image) -> tuple[Place, str]:
    """The base for image.platform, and the digest under which it is named. Raises BuildError with what was found."""
    named = source.manifest(parse(image.base).reference)
    manifest = named
    if named.is_index:
        manifest = source.manifest(chosen(named, image.platform, f"the base {image.base}").digest)
    raw = source.content(manifest.config)
    config = json.loads(raw)
    found = platform_of(config)
    if not fits(found, image.platform):
        hint = "set image.platform to what the nodes are, and image.base to an image that exists for it"
        raise BuildError(f"the base {image.base} is for {found}, not for {image.platform}", hint)
    return Place(source, manifest, raw, config), named.digest
