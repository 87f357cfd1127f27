"""Finds the base in its registry, for the platform of the nodes. Reads no layer."""

from __future__ import annotations

import json

from deploy.cluster.spec import Image
from deploy.errors import BuildError
from deploy.image.base.reading import Place
from deploy.registry.manifest import chosen, fits, platform_of
from deploy.registry.name import parse
from deploy.registry.repository import Repository


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
