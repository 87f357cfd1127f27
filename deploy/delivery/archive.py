"""An archive for `docker load` without the layers that are on the node already. Pure but for the blobs it is given."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator

from deploy.delivery.parcel import Parcel
from deploy.registry.manifest import Descriptor

Read = Callable[[Descriptor], Iterator[bytes]]
BLOCK = 512


def size(parcel: Parcel, layer: int) -> int:
    """Bytes of the archive with the layers from one on."""
    blobs = [len(content) for _, content in _small(parcel)] + [one.size for one in _layers(parcel, layer)]
    return sum(BLOCK + _padded(one) for one in blobs) + 2 * BLOCK


def pieces(parcel: Parcel, layer: int, read: Read) -> Iterator[bytes]:
    """The archive. Its list of contents comes last, so that what was cut short is no archive to anybody."""
    for blob in _layers(parcel, layer):
        yield _head(_path(blob.digest), blob.size)
        yield from read(blob)
        yield b"\0" * (_padded(blob.size) - blob.size)
    for name, content in _small(parcel):
        yield _head(name, len(content)) + content + b"\0" * (_padded(len(content)) - len(content))
    yield b"\0" * (2 * BLOCK)


def _layers(parcel: Parcel, layer: int) -> list[Descriptor]:
    return list({one.digest: one for one in parcel.manifest.layers[layer:]}.values())


def _small(parcel: Parcel) -> list[tuple[str, bytes]]:
    """An OCI layout for engines with containerd's image store, and Docker's own list, which names all layers."""
    manifest = parcel.manifest
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.raw)}],
    }
    listed = [
        {
            "Config": _path(manifest.config.digest),
            "RepoTags": None,
            "Layers": [_path(one.digest) for one in manifest.layers],
        }
    ]
    return [
        (_path(manifest.config.digest), parcel.config),
        (_path(manifest.digest), manifest.raw),
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        ("manifest.json", json.dumps(listed).encode()),
    ]


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _head(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
