"""What is said of an image, beside it in its registry: OCI referrers, and what cosign keeps. Signs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.errors import RegistryError
from deploy.registry.manifest import OCI, OCI_INDEX, Descriptor, Manifest, compact, sha256
from deploy.registry.repository import Repository, of_bytes
from deploy.supply import signature
from deploy.supply.signature import Signed

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
LARGEST = 64 << 20
"""Bytes of one statement, which is read as a whole."""


@dataclass(frozen=True)
class Said:
    """One statement about an image."""

    artifact_type: str
    payload: bytes


def attach(repository: Repository, subject: Descriptor, artifact_type: str, payload: bytes) -> Descriptor:
    """Refer to an image (the descriptor of its manifest) with a statement; returns what is referred by.

    The same statement is there once, however often it is attached. Raises RegistryError.
    """
    content = Descriptor(artifact_type, sha256(payload), len(payload))
    empty = Descriptor(EMPTY_TYPE, sha256(EMPTY), len(EMPTY))
    manifest = compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI,
            "artifactType": artifact_type,
            "config": empty.content,
            "layers": [content.content],
            "subject": subject.content,
        }
    )
    made = Descriptor(OCI, sha256(manifest), len(manifest))
    _sent(repository, content, payload)
    _sent(repository, empty, EMPTY)
    repository.put(manifest, OCI, made.digest)
    _listed(repository, subject.digest, made.content | {"artifactType": artifact_type})
    return made


def _sent(repository: Repository, content: Descriptor, raw: bytes) -> None:
    if not repository.has(content.digest):
        repository.upload(content, of_bytes(raw))


def _listed(repository: Repository, digest: str, entry: dict[str, Any]) -> None:
    """Where the registry keeps no list of referrers, its clients do, under a tag. Raises RegistryError."""
    if any(one.get("digest") == entry["digest"] for one in repository.referrers(digest)):
        return
    tag = digest.replace(":", "-")
    old = _index(repository, tag)
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*old, entry]})
    repository.put(index, OCI_INDEX, tag)
    if entry not in _index(repository, tag):
        what = f"{repository}@{digest}: {entry['digest']} was attached, and is not in the list"
        raise RegistryError(what, "somebody else attached at the same time: do it again")


def _index(repository: Repository, tag: str) -> list[dict[str, Any]]:
    return list(repository.manifest(tag).content.get("manifests") or []) if repository.digest(tag) else []


def attached(repository: Repository, digest: str, *artifact_types: str) -> Iterator[Said]:
    """The statements of these types about an image. Raises RegistryError."""
    for one in repository.referrers(digest):
        if one.get("artifactType") in artifact_types:
            manifest = repository.manifest(str(one.get("digest")))
            for content in manifest.layers:
                yield Said(str(one["artifactType"]), small(repository, content))


def bundles(repository: Repository, digest: str) -> int:
    """How many of cosign 3's bundles refer to an image. Raises RegistryError."""
    found = repository.referrers(digest)
    return sum(str(one.get("artifactType", "")).startswith(signature.BUNDLE) for one in found)


def beside(repository: Repository, digest: str, kind: str) -> list[Signed]:
    """What cosign keeps beside an image: its signatures (`sig`) or its attestations (`att`). Raises RegistryError."""
    tag = signature.tag(digest, kind)
    return signature.layers(repository.manifest(tag)) if repository.digest(tag) else []


def put_beside(repository: Repository, digest: str, kind: str, new: Signed, raw: bytes) -> None:
    """Add to what is kept there. Raises RegistryError."""
    _sent(repository, new.content, raw)
    manifest, config = signature.kept([*beside(repository, digest, kind), new])
    _sent(repository, manifest.config, config)
    repository.put(manifest.raw, manifest.media_type, signature.tag(digest, kind))


def small(repository: Repository, content: Descriptor) -> bytes:
    """A statement as a whole. Raises RegistryError."""
    if content.size > LARGEST:
        raise RegistryError(f"{repository}@{content.digest}: {content.size} bytes are no statement", "remove it")
    return repository.content(content)


def descriptor(manifest: Manifest) -> Descriptor:
    """A manifest as what others refer to."""
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw))
