"""What was found of an image, judged: each check passes, fails, and is left open where nothing was looked at."""

from __future__ import annotations

import hashlib

import pytest

from deploy.command import Command, Result
from deploy.inside.check import FAILED, NOT_CHECKED, PASSED
from deploy.launch.node import NodeFacts
from deploy.supply import examine
from deploy.supply.content import laid_over
from deploy.supply.examine import Kept
from deploy.supply.expected import Expected
from deploy.supply.signature import payload
from deploy.supply.statement import PROVENANCE, SPDX, Subject, envelope, signed_bytes, statement
from tests.unit.supply.samples import BASE, DIGEST, NAME, SUBJECT, file

OTHER = f"sha256:{'9' * 64}"
PAYLOAD = payload("ghcr.io", "owner/image", DIGEST)


class HashKey:
    """In the place of a key, for these tests alone: its signature is a checksum, so anyone could make one."""

    fingerprint = "sha256:test"

    def sign(self, content: bytes) -> bytes:
        return hashlib.sha256(content).digest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        return signature == self.sign(content)


KEY = HashKey()


def test_a_signature_of_this_image_by_the_key_passes_beside_others() -> None:
    good = Kept(PAYLOAD, KEY.sign(PAYLOAD))
    assert examine.signatures([good], DIGEST, KEY, 0).outcome == PASSED
    assert examine.signatures([Kept(PAYLOAD, b"another's"), good], DIGEST, KEY, 0).outcome == PASSED


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        ([], "there is no signature"),
        ([Kept(PAYLOAD, None)], "by another key"),
        ([Kept(PAYLOAD, b"another's")], "by another key"),
        ([Kept(PAYLOAD + b" ", KEY.sign(PAYLOAD))], "of other content"),
        ([Kept(b"{}", KEY.sign(b"{}"))], "is of something else"),
        ([Kept(PAYLOAD.replace(b"1" * 64, b"9" * 64), KEY.sign(PAYLOAD.replace(b"1" * 64, b"9" * 64)))], OTHER),
    ],
)
def test_any_other_signature_fails(found: list[Kept], seen: str) -> None:
    check = examine.signatures(found, DIGEST, KEY, 0)
    assert check.outcome == FAILED
    assert seen in check.seen


def test_without_a_key_no_signature_is_checked() -> None:
    check = examine.signatures([Kept(PAYLOAD, KEY.sign(PAYLOAD))], DIGEST, None, 2)
    assert check.outcome == NOT_CHECKED
    assert "signatures that are there: 1; 2 bundles" in check.seen


def attested(kind: str, digest: str = DIGEST) -> bytes:
    raw = statement(Subject(NAME, digest), kind, {})
    return envelope(raw, KEY.sign(signed_bytes(raw)))


def judged(envelopes: list[bytes], attached: dict[str, list[bytes]], key: HashKey | None = KEY) -> dict[str, str]:
    return {one.id: one.outcome for one in examine.attestations(envelopes, attached, DIGEST, key)}


def test_statements_pass_where_the_key_signed_them_for_this_image() -> None:
    raw = statement(SUBJECT, SPDX, {})
    assert judged([attested(SPDX)], {SPDX: [raw]}) == {"sbom": PASSED, "provenance": NOT_CHECKED}
    assert judged([attested(SPDX), attested(PROVENANCE)], {}) == {"sbom": PASSED, "provenance": PASSED}
    assert judged([attested(SPDX, OTHER), b"no envelope"], {SPDX: [raw]})["sbom"] == NOT_CHECKED
    assert judged([attested(SPDX)], {SPDX: [raw]}, None)["sbom"] == NOT_CHECKED
    (check, _) = examine.attestations([attested(SPDX)], {SPDX: [raw, raw + b" "]}, DIGEST, KEY)
    assert "1 more, attached, were not signed" in check.seen


def test_statements_that_another_key_signed_fail() -> None:
    raw = statement(SUBJECT, SPDX, {})
    signature = KEY.sign(signed_bytes(raw))
    for bad in (envelope(raw, b"another's"), envelope(statement(SUBJECT, SPDX, {"a": 1}), signature)):
        assert judged([bad], {SPDX: [raw]}) == {"sbom": FAILED, "provenance": NOT_CHECKED}
        assert judged([bad], {}, None)["sbom"] == NOT_CHECKED


def test_the_recipe_must_be_that_of_the_checkout_in_label_and_annotation() -> None:
    assert examine.recipe({"label": "a", "annotation": "a"}, ["a", "b"]).outcome == PASSED
    assert examine.recipe({"label": "b"}, ["a", "b"]).outcome == PASSED
    for said in ({"label": "c"}, {"label": ""}, {"label": "a", "annotation": ""}, {"label": "a", "annotation": "b"}):
        assert examine.recipe(said, ["a", "b"]).outcome == FAILED


def test_files_must_be_those_of_the_checkout_and_no_others() -> None:
    digest = {name: file(name.encode()).sha256 for name in ("one", "patched")}
    wanted = Expected("a", {"one": digest["one"]}, {"patched": frozenset({digest["patched"]}), "free": frozenset()})
    good = {"one": file(b"one"), "patched": file(b"patched"), "free": file(b"x"), "wheel": file(b"y")}
    assert examine.files(good, ["one", "patched", "free"], wanted).outcome == PASSED
    for found, top, seen in (
        ({**good, "one": file(b"two")}, [], "one is another"),
        ({**good, "patched": file(b"two")}, [], "patched is another"),
        ({path: one for path, one in good.items() if path != "one"}, [], "one is missing"),
        (good, ["wheel"], "wheel is not of this checkout"),
    ):
        check = examine.files(found, top, wanted)
        assert (check.outcome, seen in check.seen) == (FAILED, True)


def test_a_layer_takes_away_what_it_hides_of_those_below() -> None:
    below = dict.fromkeys(("a/one", "a/two", "b/c/one", "d/one", "dd/one"), file(b""))
    layer = dict.fromkeys(("a/.wh.one", "b/.wh.c", "d/.wh..wh..opq", "d/two"), file(b""))
    assert set(laid_over(below, layer)) == {"a/two", "dd/one", "d/two"}


def test_layers_fail_with_what_is_missing_or_wrong() -> None:
    assert examine.base_layers(2, []).outcome == PASSED
    assert examine.base_layers(2, [OTHER]).outcome == FAILED
    assert examine.own_layers({}, {3: 1000}).outcome == PASSED
    assert examine.own_layers({3: "broken"}, {3: 1000}).outcome == FAILED
    assert examine.not_told_apart("layers.own").outcome == NOT_CHECKED


def test_the_base_must_be_below() -> None:
    assert examine.base(BASE, ("a", "b"), ("a", "b", "c")).outcome == PASSED
    assert examine.base(BASE, ("a", "b"), ("b", "a", "c")).outcome == FAILED
    assert examine.base(BASE, ("a", "b"), ("a",)).outcome == FAILED
    assert examine.base(BASE, None, ("a",)).outcome == examine.base("", None, ("a",)).outcome == NOT_CHECKED


def test_a_node_proves_its_image_or_nothing_was_checked() -> None:
    has = NodeFacts(images=((NAME, DIGEST),))
    proven = NodeFacts(images=((NAME, DIGEST),), proven=((NAME, DIGEST),))
    stale = NodeFacts(images=((NAME, OTHER),), proven=((NAME, OTHER),))
    assert examine.proof("spark1", proven, NAME, DIGEST).outcome == PASSED
    for facts in (has, stale, NodeFacts(), None):
        assert examine.proof("spark1", facts, NAME, DIGEST, "no route").outcome == NOT_CHECKED


def test_a_self_test_that_was_run_passes_or_fails() -> None:
    command = Command(("docker",))
    good = '{"format": 1, "passed": true, "checks": [{"id": "patches", "outcome": "passed", "seen": "all"}]}'
    assert examine.self_test(Result(command, 0, good)).outcome == PASSED
    assert examine.self_test(Result(command, 1, good.replace('"passed"', '"failed"'))).outcome == FAILED
    assert examine.self_test(Result(command, 125, "", "no such image")).outcome == FAILED


def test_an_identity_is_what_cosign_says() -> None:
    command = Command(("cosign",))
    assert examine.by_identity(Result(command, 0, "[]"), "me").outcome == PASSED
    assert examine.by_identity(Result(command, 1, "", "no matching signatures"), "me").outcome == FAILED
