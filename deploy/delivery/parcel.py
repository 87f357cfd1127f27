"""One image as it is delivered: its manifest, its config and its layers. Read from a registry; sends nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from deploy.errors import RegistryError
from deploy.registry import lookup
from deploy.registry.manifest import Descriptor, Manifest
from deploy.registry.name import parse
from deploy.registry.patience import Patience

SHORT = Patience(waits=(0.5,), connect=5.0, read=20.0)
"""Whether this machine reaches the registry is soon said; the nodes may do so in any case."""


@dataclass(frozen=True)
class Parcel:
    """`image` is REPOSITORY@sha256:…; what its digest names, an index perhaps, is the first of `manifests`, what a node
    runs the last."""

    image: str
    manifests: tuple[Manifest, ...]
    config: bytes = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        return self.manifests[-1]

    @cached_property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the layers unpacked, from the bottom."""
        return tuple(json.loads(self.config)["rootfs"]["diff_ids"])

    @property
    def blobs(self) -> dict[str, Descriptor]:
        """Config and layers by digest."""
        return {one.digest: one for one in (self.manifest.config, *self.manifest.layers)}

    def above(self, layer: int) -> int:
        """Compressed bytes of the layers from one on."""
        return sum({one.digest: one.size for one in self.manifest.layers[layer:]}.values())

    @property
    def wrapping(self) -> int:
        """Bytes of what is not a layer."""
        return sum(len(one.raw) for one in self.manifests) + len(self.config)


def parcel(image: str, platform: str) -> Parcel:
    """The image (REPOSITORY@sha256:…) as its registry has it, for a platform. Raises RegistryError."""
    name = parse(image)
    with lookup.repository(name, SHORT) as source:
        found = lookup.image(source, name.digest, platform)
        index = () if found.named == found.manifest.digest else (source.manifest(found.named),)
    made = Parcel(image, (*index, found.manifest), found.config)
    if len(made.diff_ids) != len(found.manifest.layers):
        what = f"{image}: {len(found.manifest.layers)} layers, and {len(made.diff_ids)} in its config"
        raise RegistryError(what, "the image is broken; build and push it again")
    return made


def pieces(image: str, blob: Descriptor) -> Iterator[bytes]:
    """A blob of the image from its registry, whole and checked. Raises RegistryError."""
    name = parse(image)
    with lookup.repository(name) as source:
        yield from source.blob(blob.digest, blob.size).pieces()
