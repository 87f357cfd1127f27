"""An image in its registry, looked into: which layers are over its base, and which files they bring. Judges nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any, cast

from deploy.errors import ConfigError, DeployError, RegistryError
from deploy.image.append import BY
from deploy.image.order import BASE_DIGEST
from deploy.registry import lookup
from deploy.registry.manifest import Descriptor, Manifest, platform_of
from deploy.registry.name import parse
from deploy.registry.repository import Repository

BASE_NAME = "org.opencontainers.image.base.name"
OPAQUE = ".wh..wh..opq"
_PIECE = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a layer; checksums in hex."""

    size: int
    sha1: str
    sha256: str


@dataclass(frozen=True)
class Layer:
    """One layer as it came: the digest of its tar unpacked, and its files by path, without a leading slash."""

    diff_id: str
    files: Mapping[str, File] = field(repr=False)


@dataclass(frozen=True)
class Pushed:
    """An image in its repository. Layers count from the lowest."""

    repository: Repository
    manifest: Manifest
    config: Mapping[str, Any] = field(repr=False)

    @property
    def labels(self) -> Mapping[str, str]:
        return (self.config.get("config") or {}).get("Labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.manifest.content.get("annotations") or {}

    @property
    def platform(self) -> str:
        return platform_of(self.config)

    @property
    def base(self) -> str:
        """NAME@DIGEST of what it was built on, as its labels say; "" where they do not."""
        name, digest = self.labels.get(BASE_NAME, ""), self.labels.get(BASE_DIGEST, "")
        return f"{name}@{digest}" if name and digest else ""

    @cached_property
    def diff_ids(self) -> tuple[str, ...]:
        """Of all layers. Raises RegistryError where they are not those of the manifest."""
        found = tuple(map(str, (self.config.get("rootfs") or {}).get("diff_ids") or ()))
        if len(found) != len(self.manifest.layers):
            what = f"{self.repository}@{self.manifest.digest}: {len(self.manifest.layers)} layers, "
            raise RegistryError(f"{what}and its config names {len(found)}", "push it again")
        return found

    @property
    def appended(self) -> tuple[str, ...]:
        """What the append engine says of the layers that it made, the lowest first; none where it made none."""
        lines = [
            str(one.get("created_by", "")) for one in self.config.get("history") or () if not one.get("empty_layer")
        ]
        return tuple(line.removeprefix(BY) for line in lines if line.startswith(BY))


def find(repository: Repository, reference: str) -> Pushed:
    """The image under a tag or digest. Raises RegistryError, ConfigError."""
    manifest = repository.manifest(reference)
    if manifest.is_index:
        hint = "name the image itself by its digest: `build` makes no index"
        raise ConfigError(f"{repository}@{manifest.digest} is an index of images", hint)
    try:
        config = json.loads(repository.content(manifest.config))
        platform_of(config)
    except (ValueError, AttributeError):
        raise RegistryError(f"{repository}:{reference}: its config is no JSON", "is this an image?") from None
    return Pushed(repository, manifest, config)


def base_of(image: Pushed) -> tuple[str, ...] | None:
    """The diff_ids of the image's base, asked for where its labels say; None where nothing can be learnt there."""
    if not image.base:
        return None
    with suppress(DeployError, ValueError, LookupError, AttributeError):
        name = parse(image.base)
        with lookup.repository(name) as source:
            config = json.loads(lookup.image(source, name.digest, image.platform).config)
            return tuple(map(str, config["rootfs"]["diff_ids"]))
    return None


def own(image: Pushed, base: tuple[str, ...] | None) -> tuple[int, ...] | None:
    """Which layers the image has over its base: those that the base has not, else those that the append engine says
    it made. None where neither tells."""
    count = len(image.diff_ids)
    if base is not None and image.diff_ids[: len(base)] == base:
        return tuple(range(len(base), count))
    return tuple(range(count - len(image.appended), count)) if image.appended else None


def read(image: Pushed, at: int) -> Layer:
    """Read a layer to its end; its blob's checksum is held to. Raises RegistryError."""
    blob = image.manifest.layers[at]
    if not blob.media_type.endswith(("gzip", "tar")):
        raise RegistryError(f"{_named(image, blob)} is {blob.media_type}", "this reads layers of tar and gzip alone")
    with image.repository.blob(blob.digest, blob.size) as stream:
        packed = io.BufferedReader(cast("Any", stream), _PIECE)
        plain: Any = gzip.GzipFile(fileobj=packed) if blob.media_type.endswith("gzip") else packed
        hashed = _Hashed(plain)
        try:
            files = _files(hashed)
            # The rest of the tar, and then of the blob, at whose end its checksum is known.
            while hashed.read(_PIECE) or packed.read(_PIECE):
                pass
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RegistryError(f"{_named(image, blob)} cannot be read: {error}", "push the image again") from None
    return Layer(f"sha256:{hashed.sum.hexdigest()}", files)


def laid_over(below: Mapping[str, File], layer: Mapping[str, File]) -> dict[str, File]:
    """The files that are to be seen once a layer is over others, without what it hides of them."""
    gone = [path for path in layer if is_whiteout(path)]
    hidden = tuple(f"{path.removesuffix(OPAQUE)}" for path in gone if path.endswith(OPAQUE))
    alone = {path.replace("/.wh.", "/") for path in gone if not path.endswith(OPAQUE)}
    kept = {path: one for path, one in below.items() if not path.startswith(hidden) and path not in alone}
    folders = tuple(f"{path}/" for path in alone)
    kept = {path: one for path, one in kept.items() if not path.startswith(folders)}
    return kept | {path: one for path, one in layer.items() if not is_whiteout(path)}


def is_whiteout(path: str) -> bool:
    """An entry that says what the layer takes away from those below it."""
    return path.rpartition("/")[2].startswith(".wh.")


def _named(image: Pushed, blob: Descriptor) -> str:
    return f"{image.repository}: the layer {blob.digest}"


def _files(plain: _Hashed) -> dict[str, File]:
    found: dict[str, File] = {}
    with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() else None
            if content:
                found[entry.name.removeprefix("./").lstrip("/")] = _file(content, entry.size)
    return found


def _file(content: IO[bytes], size: int) -> File:
    sums = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    while piece := content.read(_PIECE):
        for one in sums:
            one.update(piece)
    return File(size, sums[0].hexdigest(), sums[1].hexdigest())


class _Hashed(io.RawIOBase):
    """Reads on, with the SHA-256 of all that was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.sum = source, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.sum.update(piece)
        return piece
