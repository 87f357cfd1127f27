"""The bill of materials, held against the SPDX project's own validator."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from deploy.supply.sbom import sbom, seconds
from tests.unit.supply.samples import BASE, BILL, DIGEST, FILES, PARSER, SELF_TEST, TABLE, WHEEL, order


def made() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom(order(), [WHEEL], BILL))
    return found


def problems(document: dict[str, Any]) -> list[str]:
    parsed = JsonLikeDictParser().parse(document)
    return [one.validation_message for one in validate_full_spdx_document(parsed, "SPDX-2.3")]


def test_the_document_is_valid_and_the_validator_would_say_otherwise() -> None:
    document = made()
    assert problems(document) == []
    assert problems(document | {"documentNamespace": "no address"})
    assert problems(document | {"files": document["files"][1:]})


def test_it_lists_image_base_project_patched_files_and_wheels() -> None:
    packages = {one["SPDXID"]: one for one in made()["packages"]}
    assert packages["SPDXRef-image"]["checksums"][0]["checksumValue"] == DIGEST.removeprefix("sha256:")
    assert packages["SPDXRef-base"]["versionInfo"] == BASE.partition("@")[2]
    assert packages["SPDXRef-sglang-spark"]["downloadLocation"].startswith("git+https://github.com/owner/image@0123")
    wheel = packages["SPDXRef-wheel-nvidia-nccl-cu13"]
    assert (wheel["name"], wheel["versionInfo"]) == ("nvidia-nccl-cu13", "2.30.7")
    assert wheel["checksums"] == [{"algorithm": "SHA256", "checksumValue": "3" * 64}]


def test_each_file_is_in_the_package_that_it_is_of() -> None:
    document = made()
    names = {one["SPDXID"]: one["fileName"].removeprefix("./") for one in document["files"]}
    held: dict[str, set[str]] = {}
    for one in document["relationships"]:
        if one["relatedSpdxElement"] in names:
            held.setdefault(one["spdxElementId"], set()).add(names[one["relatedSpdxElement"]])
    assert held == {"SPDXRef-sglang-spark": {TABLE, SELF_TEST}, "SPDXRef-sglang": {PARSER}}
    sums = "".join(sorted(FILES[path].sha1 for path in (TABLE, SELF_TEST)))
    code = hashlib.sha1(sums.encode(), usedforsecurity=False).hexdigest()
    packages = {one["SPDXID"]: one for one in document["packages"]}
    assert packages["SPDXRef-sglang-spark"]["packageVerificationCode"]["packageVerificationCodeValue"] == code


def test_the_same_image_gives_the_same_bytes_and_another_another_address() -> None:
    assert sbom(order(), [WHEEL], BILL) == sbom(order(), [WHEEL], BILL)
    assert json.loads(sbom(order(), [], BILL))["documentNamespace"] != made()["documentNamespace"]


def test_a_time_is_in_utc_and_whole_seconds() -> None:
    assert seconds("2025-11-01T03:02:03.123456789+02:00") == "2025-11-01T01:02:03Z"
    assert seconds("1970-01-01T00:00:00Z") == "1970-01-01T00:00:00Z"


def test_a_dirty_tree_has_no_address_to_be_loaded_from() -> None:
    (project,) = (
        one
        for one in json.loads(sbom(order("0" * 40 + "-dirty"), [], BILL))["packages"]
        if one["name"] == "sglang-spark"
    )
    assert project["downloadLocation"] == "NOASSERTION"
