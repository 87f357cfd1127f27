"""in-toto statements and the DSSE envelopes that sign them, as bytes. Pure; holds no key."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import BuildError
from deploy.registry.manifest import compact

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PROVENANCE = "https://slsa.dev/provenance/v1"
SPDX = "https://spdx.dev/Document"


@dataclass(frozen=True)
class Subject:
    """What is spoken of: an image by HOST/REPOSITORY and sha256:DIGEST."""

    name: str
    digest: str

    @property
    def content(self) -> dict[str, Any]:
        return {"name": self.name, "digest": {"sha256": self.digest.removeprefix("sha256:")}}


def statement(subject: Subject, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto statement v1 about one image."""
    content = {"_type": STATEMENT, "subject": [subject.content], "predicateType": predicate_type}
    return compact({**content, "predicate": predicate})


def signed_bytes(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """What a DSSE signature is over: the payload and its type, each with its length (PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(payload: bytes, signature: bytes) -> bytes:
    """A DSSE envelope with one signature over `signed_bytes`."""
    signatures = [{"keyid": "", "sig": base64.b64encode(signature).decode()}]
    wrapped = {"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode()}
    return compact({**wrapped, "signatures": signatures})


def opened(raw: bytes) -> tuple[bytes, list[bytes]]:
    """(payload, signatures) of an envelope with an in-toto statement. Raises BuildError."""
    try:
        found = json.loads(raw)
        if found["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(found["payloadType"])
        payload = base64.b64decode(found["payload"], validate=True)
        return payload, [base64.b64decode(one["sig"], validate=True) for one in found["signatures"]]
    except (ValueError, LookupError, TypeError) as error:
        raise BuildError(f"no DSSE envelope with an in-toto statement: {error}", "attach it anew") from None


def about(payload: bytes) -> tuple[str, frozenset[str]]:
    """(type of the predicate, sha256:… of all subjects) of a statement; ("", nothing) of anything else."""
    try:
        found = json.loads(payload)
        digests = frozenset(f"sha256:{one['digest']['sha256']}" for one in found["subject"])
        return str(found["predicateType"]), digests
    except (ValueError, LookupError, TypeError):
        return "", frozenset()


def as_object(raw: bytes) -> dict[str, Any] | None:
    """JSON's object; None for anything else."""
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
