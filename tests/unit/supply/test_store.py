"""Statements beside an image, where a registry keeps a list of them and where it keeps none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from deploy.errors import RegistryError
from deploy.registry.manifest import OCI, OCI_INDEX, Descriptor, Manifest, sha256
from deploy.registry.repository import Repository
from deploy.supply import store

SUBJECT = Descriptor(OCI, f"sha256:{'1' * 64}", 7)
TAG = f"sha256-{'1' * 64}"


class Kept:
    """In the place of a repository, with or without a list of its own; the real one is in the integration tests."""

    def __init__(self, *, lists: bool, loses: bool = False) -> None:
        self.lists, self.loses, self.blobs, self.manifests = lists, loses, {}, {}  # type: ignore[var-annotated]

    def has(self, digest: str) -> bool:
        return digest in self.blobs

    def upload(self, content: Descriptor, opened: Callable[[], Iterator[bytes]]) -> None:
        self.blobs[content.digest] = b"".join(opened())

    def put(self, raw: bytes, media_type: str, reference: str) -> str:
        if not (self.loses and reference == TAG):
            self.manifests[reference] = Manifest(raw, media_type)
        return sha256(raw)

    def digest(self, reference: str) -> str:
        return self.manifests[reference].digest if reference in self.manifests else ""

    def manifest(self, reference: str) -> Manifest:
        found: Manifest = self.manifests[reference]
        return found

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        if not self.lists:
            return list(self.manifests[TAG].content["manifests"]) if TAG in self.manifests else []
        return [{"digest": one.digest} for one in self.manifests.values() if "subject" in one.content]


def attached(kept: Kept, payload: bytes = b"{}") -> Descriptor:
    return store.attach(cast("Repository", kept), SUBJECT, "application/spdx+json", payload)


def test_a_registry_with_a_list_gets_no_tag() -> None:
    kept = Kept(lists=True)
    made = attached(kept)
    assert set(kept.manifests) == {made.digest}
    content = kept.manifests[made.digest].content
    assert (content["subject"], content["artifactType"]) == (SUBJECT.content, "application/spdx+json")
    assert content["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"


def test_a_registry_without_one_gets_an_index_under_a_tag_that_keeps_what_was_there() -> None:
    kept = Kept(lists=False)
    made = [attached(kept, payload) for payload in (b"{}", b"[]", b"{}")]
    index = kept.manifests[TAG]
    assert index.media_type == OCI_INDEX
    assert [one["digest"] for one in index.content["manifests"]] == [made[0].digest, made[1].digest]
    assert {one["artifactType"] for one in json.loads(index.raw)["manifests"]} == {"application/spdx+json"}


def test_a_list_that_another_wrote_over_is_told() -> None:
    with pytest.raises(RegistryError, match="is not in the list"):
        attached(Kept(lists=False, loses=True))
