"""An image and what nodes have of it, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from deploy.delivery.parcel import Parcel
from deploy.delivery.stock import Held, Stock
from deploy.registry.manifest import CONFIGS, DOCKER, LAYERS, Descriptor, Manifest, compact, sha256

REPOSITORY = "ghcr.io/owner/sglang-spark-glm47"
CONTENTS = (b"b" * 700_000, b"c" * 300_000, b"top" * 20)


def parcel(*contents: bytes, repository: str = REPOSITORY) -> Parcel:
    """An image of layers with these contents; a diff_id is the content's digest with another letter before it."""
    layers = [Descriptor(LAYERS[DOCKER], sha256(one), len(one)) for one in contents or CONTENTS]
    config = compact({"architecture": "arm64", "os": "linux", "rootfs": {"diff_ids": diff_ids(*contents or CONTENTS)}})
    described = Descriptor(CONFIGS[DOCKER], sha256(config), len(config))
    content = {"schemaVersion": 2, "mediaType": DOCKER, "config": described.content}
    manifest = Manifest(compact({**content, "layers": [one.content for one in layers]}), DOCKER)
    return Parcel(f"{repository}@{manifest.digest}", (manifest,), config)


def diff_ids(*contents: bytes) -> list[str]:
    return [f"sha256:{hashlib.sha256(b'plain' + one).hexdigest()}" for one in contents]


def stock(layers: int = 0, *, pulled: bool = True, python: bool = True, obstacle: str = "") -> Stock:
    """A node that has the lowest layers of the image."""
    ids = tuple(diff_ids(*CONTENTS)[:layers])
    return Stock((Held(ids, pulled),) if layers else (), python, False, obstacle)


def fetch(blob: Descriptor) -> Iterator[bytes]:
    """A blob's content, in pieces."""
    content = next(one for one in CONTENTS if sha256(one) == blob.digest)
    yield from (content[at : at + 1000] for at in range(0, len(content), 1000))


def stock_text(*images: dict[str, object], registry: str = "", python: bool = True) -> str:
    """What the script prints."""
    lines = ['store [["Backing Filesystem","extfs"]]', *(["python3 yes"] if python else [])]
    lines += [f"image {json.dumps(one)}" for one in images]
    return "\n".join([*lines, *([f"registry {registry}"] if registry else [])])
