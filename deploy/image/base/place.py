"""Finds the base in its registry, for the platform of the nodes. Reads no layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.cluster.spec import Image
from deploy.registry import lookup
from deploy.registry.manifest import Manifest
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
    """The base for image.platform, and the digest under which it is named, which may be an index's.

    Raises RegistryError with what was found.
    """
    found = lookup.image(source, parse(image.base).reference, image.platform)
    return Place(source, found.manifest, found.config, json.loads(found.config)), found.named
