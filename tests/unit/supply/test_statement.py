"""Statements and their envelopes, byte for byte."""

from __future__ import annotations

import json

import pytest

from deploy.errors import BuildError
from deploy.supply.provenance import LOCAL, Builder, Built, builder, provenance
from deploy.supply.statement import PROVENANCE, SPDX, about, envelope, opened, signed_bytes, statement
from tests.unit.supply.samples import BASE, COMMIT, DIGEST, SUBJECT, WHEEL, order

ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "owner/image",
    "GITHUB_WORKFLOW_REF": "owner/image/.github/workflows/image.yml@refs/heads/main",
    "GITHUB_RUN_ID": "7",
    "GITHUB_RUN_ATTEMPT": "2",
}


def test_what_is_signed_is_as_in_the_example_of_dsse() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signed_bytes(b"hello world", "http://example.com/HelloWorld") == expected


def test_an_envelope_gives_back_what_went_in_and_nothing_else_is_one() -> None:
    payload = statement(SUBJECT, SPDX, {"a": 1})
    assert opened(envelope(payload, b"signature")) == (payload, [b"signature"])
    other = json.loads(envelope(payload, b"s")) | {"payloadType": "text/plain"}
    for raw in (b"", b"{}", b"[]", json.dumps(other).encode()):
        with pytest.raises(BuildError, match="no DSSE envelope"):
            opened(raw)


def test_a_statement_names_its_kind_and_its_images() -> None:
    assert about(statement(SUBJECT, SPDX, {})) == (SPDX, frozenset({DIGEST}))
    assert about(b"{}") == about(b"no json") == ("", frozenset())


def test_a_provenance_names_source_base_wheels_settings_and_builder() -> None:
    found = json.loads(provenance(order(), [WHEEL], Built(SUBJECT, BASE, builder(ACTIONS))))
    assert (found["_type"], found["predicateType"]) == ("https://in-toto.io/Statement/v1", PROVENANCE)
    assert found["subject"] == [{"name": SUBJECT.name, "digest": {"sha256": "1" * 64}}]
    definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    source, base, wheel = definition["resolvedDependencies"]
    assert source == {"uri": "git+https://github.com/owner/image", "digest": {"gitCommit": COMMIT}}
    assert base["digest"] == {"sha256": "2" * 64}
    assert base["uri"].startswith("pkg:oci/sglang@sha256%3A2222")
    assert wheel["uri"] == "pkg:pypi/nvidia-nccl-cu13@2.30.7"
    assert definition["externalParameters"]["image"]["base"] == BASE
    assert run["builder"]["id"] == "https://github.com/owner/image/.github/workflows/image.yml@refs/heads/main"
    assert run["metadata"] == {"invocationId": "https://github.com/owner/image/actions/runs/7/attempts/2"}


def test_files_that_no_commit_has_are_of_no_commit() -> None:
    found = json.loads(provenance(order(f"{COMMIT}-dirty"), [], Built(SUBJECT, "", Builder())))
    (source,) = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["annotations"] == {"revision": f"{COMMIT}-dirty"}
    assert "digest" not in source


def test_a_build_on_somebodys_machine_claims_no_more() -> None:
    assert builder({}) == builder({**ACTIONS, "GITHUB_ACTIONS": "false"}) == Builder(LOCAL)
    run = json.loads(provenance(order(), [], Built(SUBJECT, BASE, Builder())))["predicate"]["runDetails"]
    assert run["builder"]["id"] == LOCAL
    assert "metadata" not in run
