"""What cosign signs and where it lies, byte for byte."""

from __future__ import annotations

import json

from deploy.supply import signature
from tests.unit.supply.samples import DIGEST


def test_a_payload_is_simple_signing_as_cosign_writes_it() -> None:
    assert signature.payload("ghcr.io", "owner/image", DIGEST) == (
        b'{"critical":{"identity":{"docker-reference":"ghcr.io/owner/image"},'
        b'"image":{"docker-manifest-digest":"' + DIGEST.encode() + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )
    assert b'"index.docker.io/owner/image"' in signature.payload("docker.io", "owner/image", DIGEST)


def test_a_payload_says_which_image_it_is_of_and_nothing_else_does() -> None:
    assert signature.signed_digest(signature.payload("ghcr.io", "owner/image", DIGEST)) == DIGEST
    for other in (b"", b"[]", b"{}", b'{"critical":{"image":{"docker-manifest-digest":"x"},"type":"another"}}'):
        assert signature.signed_digest(other) == ""


def test_a_signature_lies_in_a_layer_beside_its_payload_under_a_tag_of_the_digest() -> None:
    assert signature.tag(DIGEST, "sig") == f"sha256-{'1' * 64}.sig"
    one = signature.signed_payload(b"payload", b"\x30\x01")
    manifest, config = signature.kept([one, one])
    assert [layer.signature for layer in signature.layers(manifest)] == [b"\x30\x01"] * 2
    first = manifest.content["layers"][0]
    assert first["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert first["annotations"] == {"dev.cosignproject.cosign/signature": "MAE="}
    assert json.loads(config)["rootfs"]["diff_ids"] == [one.content.digest] * 2


def test_what_is_no_signature_is_none() -> None:
    one = signature.signed_payload(b"payload", b"x").content
    for said in ({}, {signature.ANNOTATION: ""}, {signature.ANNOTATION: "not base64!"}):
        assert signature.Signed(one, said).signature is None
