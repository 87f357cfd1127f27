"""Signatures of images as cosign writes and finds them. Pure; holds no key and asks no registry."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.registry.manifest import CONFIGS, OCI, Descriptor, Manifest, compact, sha256
from deploy.registry.name import HUB

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle"
"""How the media types of cosign 3's own bundles begin; they are referrers."""
ANNOTATION = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
PREDICATE = "predicateType"
KIND = "cosign container image signature"


@dataclass(frozen=True)
class Signed:
    """One layer of what cosign keeps beside an image: a content, and what is said of it."""

    content: Descriptor
    annotations: Mapping[str, str]

    @property
    def signature(self) -> bytes | None:
        """None where none can be read."""
        try:
            return base64.b64decode(self.annotations[ANNOTATION], validate=True) or None
        except (KeyError, binascii.Error):
            return None


def payload(host: str, repository: str, digest: str) -> bytes:
    """What is signed: simple signing, as cosign orders it, and with the name that it has for Docker's hub."""
    name = f"{'index.docker.io' if host == HUB else host}/{repository}"
    critical = {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}, "type": KIND}
    return compact({"critical": critical, "optional": None})


def signed_digest(raw: bytes) -> str:
    """The digest that a payload speaks of; "" where it is no such payload."""
    try:
        found = json.loads(raw)["critical"]
        return str(found["image"]["docker-manifest-digest"]) if found["type"] == KIND else ""
    except (ValueError, LookupError, TypeError):
        return ""


def tag(digest: str, kind: str) -> str:
    """Where cosign looks for an image's `sig` or `att`."""
    return f"{digest.replace(':', '-')}.{kind}"


def signed_payload(content: bytes, signature: bytes) -> Signed:
    """A signature beside its payload."""
    return Signed(_described(SIMPLE_SIGNING, content), {ANNOTATION: base64.b64encode(signature).decode()})


def attestation(envelope: bytes, predicate_type: str) -> Signed:
    """A DSSE envelope, whose signature is within."""
    return Signed(_described(DSSE, envelope), {ANNOTATION: "", PREDICATE: predicate_type})


def layers(manifest: Manifest) -> list[Signed]:
    """All that a manifest of cosign's holds."""
    content = zip(manifest.layers, manifest.content["layers"], strict=True)
    return [Signed(one, dict(raw.get("annotations") or {})) for one, raw in content]


def kept(found: Iterable[Signed]) -> tuple[Manifest, bytes]:
    """(manifest, config) that hold them, as an image whose layers are no layers."""
    every = list(found)
    roots = {"type": "layers", "diff_ids": [one.content.digest for one in every]}
    config = compact({"architecture": "", "os": "", "config": {}, "rootfs": roots, "created": "0001-01-01T00:00:00Z"})
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": _described(CONFIGS[OCI], config).content,
        "layers": [one.content.content | {"annotations": dict(one.annotations)} for one in every],
    }
    return Manifest(compact(content), OCI), config


def _described(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, sha256(content), len(content))
