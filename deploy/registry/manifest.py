"""Manifests, read, chosen by platform, and made anew with more layers. Pure; fetches nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from deploy.errors import RegistryError
from deploy.registry.name import DIGEST

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
KNOWN = (OCI, DOCKER, OCI_INDEX, DOCKER_INDEX)
CONFIGS = {OCI: "application/vnd.oci.image.config.v1+json", DOCKER: "application/vnd.docker.container.image.v1+json"}
LAYERS = {
    OCI: "application/vnd.oci.image.layer.v1.tar+gzip",
    DOCKER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
"""The media type of a gzipped layer in each family; a manifest keeps to one."""


@dataclass(frozen=True)
class Descriptor:
    """One piece of content: `size` in bytes."""

    media_type: str
    digest: str
    size: int

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.digest) or self.size < 0:
            raise RegistryError(f"{self.digest!r} of {self.size} bytes is no content", "the manifest is broken")

    @property
    def content(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index, byte for byte as the registry has it."""

    raw: bytes = field(repr=False)
    media_type: str

    @property
    def digest(self) -> str:
        return sha256(self.raw)

    @property
    def is_index(self) -> bool:
        return self.media_type in (OCI_INDEX, DOCKER_INDEX)

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.raw)
        return content

    @property
    def config(self) -> Descriptor:
        return _descriptor(self.content["config"])

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        return tuple(_descriptor(one) for one in self.content["layers"])


@dataclass(frozen=True)
class Layer:
    """A layer to be put on top; `diff_id` is the digest of its tar unpacked, `created_by` its line in the history."""

    descriptor: Descriptor
    diff_id: str
    created_by: str = ""


@dataclass(frozen=True)
class Addition:
    """What an image gets beside its base's own; `created` is RFC 3339, in UTC."""

    layers: tuple[Layer, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: str = "1970-01-01T00:00:00Z"


def sha256(content: bytes) -> str:
    """sha256:…"""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read(raw: bytes, media_type: str, what: str) -> Manifest:
    """A manifest of a known schema; `media_type` as the registry named it. Raises RegistryError."""
    try:
        content = json.loads(raw)
        said = content.get("mediaType") or media_type.partition(";")[0].strip()
        schema = content.get("schemaVersion")
    except (ValueError, AttributeError):
        raise RegistryError(f"{what}: its manifest is no JSON", "is this the address of a registry?") from None
    if schema != 2 or said not in KNOWN:
        hint = "this needs an image of Docker's schema 2 or of OCI; push it again with a newer tool"
        raise RegistryError(f"{what}: unknown manifest: schema {schema}, {said or 'no media type'}", hint)
    _check(content, said, what)
    return Manifest(raw, said)


def _check(content: Mapping[str, Any], media_type: str, what: str) -> None:
    """All that is read later is there. Raises RegistryError."""
    try:
        if media_type in (OCI_INDEX, DOCKER_INDEX):
            parts = [_descriptor(one) for one in content["manifests"]]
        else:
            parts = [_descriptor(content["config"]), *(_descriptor(one) for one in content["layers"])]
    except (KeyError, TypeError, ValueError) as error:
        raise RegistryError(f"{what}: its manifest lacks what {media_type} has: {error}", "push it again") from None
    foreign = {one.media_type for one in parts if "foreign" in one.media_type or "nondistributable" in one.media_type}
    if foreign:
        raise RegistryError(f"{what}: a layer is not for registries: {', '.join(foreign)}", "use another base")


def chosen(index: Manifest, platform: str, what: str) -> Descriptor:
    """The manifest for `OS/ARCHITECTURE[/VARIANT]` in an index. Raises RegistryError with what there is."""
    offers = [(_platform(one.get("platform") or {}), _descriptor(one)) for one in index.content["manifests"]]
    for offered, descriptor in offers:
        if fits(offered, platform):
            return descriptor
    there = ", ".join(sorted({offered for offered, _ in offers if not offered.startswith("unknown")})) or "nothing"
    hint = "set image.platform to what the nodes are, and image.base to an image that exists for it"
    raise RegistryError(f"{what}: there is no image for {platform}; there is {there}", hint)


def platform_of(config: Mapping[str, Any]) -> str:
    """OS/ARCHITECTURE[/VARIANT] of an image's config."""
    return _platform(config)


def fits(found: str, wanted: str) -> bool:
    """The same system and architecture; a variant must agree where both name one, and arm64's only one is v8."""
    have, want = found.split("/"), wanted.split("/")
    return have[:2] == want[:2] and (len(have) < 3 or len(want) < 3 or have[2] == want[2])


def appended(base: Manifest, config: bytes, addition: Addition) -> tuple[Manifest, bytes]:
    """The manifest and the config of the base with more layers, in the base's own family of media types."""
    made = _config(json.loads(config), addition)
    content = {
        **base.content,
        "config": Descriptor(base.config.media_type, sha256(made), len(made)).content,
        "layers": [*base.content["layers"], *(_retyped(one.descriptor, base).content for one in addition.layers)],
    }
    if addition.annotations:
        content["annotations"] = {**(base.content.get("annotations") or {}), **addition.annotations}
    return Manifest(compact(content), base.media_type), made


def compact(content: Mapping[str, Any]) -> bytes:
    """JSON that is the same everywhere."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _config(base: Mapping[str, Any], addition: Addition) -> bytes:
    """The base's config without what its own build left behind."""
    kept = {name: value for name, value in base.items() if name not in ("container", "container_config")}
    inner = dict(kept.get("config") or {})
    if addition.environment:
        inner["Env"] = _environment(inner.get("Env") or [], addition.environment)
    if addition.labels:
        inner["Labels"] = {**(inner.get("Labels") or {}), **addition.labels}
    roots = dict(kept["rootfs"])
    roots["diff_ids"] = [*roots["diff_ids"], *(one.diff_id for one in addition.layers)]
    lines = [{"created": addition.created, "created_by": one.created_by} for one in addition.layers]
    history = {"history": [*kept["history"], *lines]} if "history" in kept else {}
    return compact({**kept, "created": addition.created, "config": inner, "rootfs": roots, **history})


def _environment(base: list[str], more: Mapping[str, str]) -> list[str]:
    """As a Dockerfile's ENV does it: in the place of the old value, else at the end."""
    values = dict(line.partition("=")[::2] for line in base)
    return [f"{name}={value}" for name, value in {**values, **more}.items()]


def _platform(said: Mapping[str, Any]) -> str:
    words = (said.get("os"), said.get("architecture"), said.get("variant"))
    return "/".join(str(word) for word in words if word)


def _descriptor(content: Mapping[str, Any]) -> Descriptor:
    return Descriptor(str(content.get("mediaType", "")), str(content["digest"]), int(content["size"]))


def _retyped(layer: Descriptor, base: Manifest) -> Descriptor:
    """A gzipped layer under the name that the base's family has for it."""
    return Descriptor(LAYERS[base.media_type], layer.digest, layer.size)
