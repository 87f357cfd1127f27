"""What lies beside a table: written, read, and flagged where it no longer holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.kernels.check import check
from deploy.kernels.files import table_files
from deploy.kernels.finding import Target
from deploy.kernels.gpu import GPUS
from deploy.kernels.provenance import Proof, Provenance, ProvenanceError, Source, checksum, file_name, parse
from tests.unit.kernels.samples import GOOD, NAME, text

PROOF = Proof("exact", "GB10", 36_864, 101_376, 36, True, {"triton": "3.5.0"}, "f16")
MADE = Provenance(
    "0" * 64, "imported", "by hand", "2026-11-21T06:00:00Z", "f16", {}, Source("git", "u", "r", "p"), (PROOF,)
)


def test_a_provenance_is_read_as_it_was_written() -> None:
    assert parse(MADE.to_json().encode()) == MADE
    assert parse(replace(MADE, source=None, proofs=()).to_json().encode()).source is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"format": 2}',
        b'{"format": 1}',
        json.dumps(json.loads(MADE.to_json()) | {"origin": "found"}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"lowering": "fp8"}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"more": 1}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"sha256": 3}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"origin": []}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"lowering": {}}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"versions": None}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"proofs": [{"mode": "fast"}]}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"proofs": 3}).encode(),
        json.dumps(json.loads(MADE.to_json()) | {"source": "git"}).encode(),
    ],
)
def test_what_is_no_provenance_is_refused(content: bytes) -> None:
    with pytest.raises(ProvenanceError):
        parse(content)


def found(folder: Path, target: Target, provenance: str | None) -> list[str]:
    table = folder / "triton_3_5_0" / f"{NAME}.json"
    table.parent.mkdir(exist_ok=True)
    table.write_text(text(dict.fromkeys((1, 4, 16, 64, 256, 1024, 4096, 8192), GOOD)))
    beside = Path(file_name(str(table)))
    if provenance is None:
        beside.unlink(missing_ok=True)
    else:
        sha256 = checksum(table.read_bytes())
        beside.write_text(provenance.replace("0" * 64, sha256))
    (verdict,) = check(table_files([folder]), target)
    return [one.code for one in verdict.findings]


def test_a_table_that_was_changed_since_is_flagged(tmp_path: Path) -> None:
    assert found(tmp_path, Target(), MADE.to_json()) == []
    assert found(tmp_path, Target(), MADE.to_json().replace("0" * 64, "1" * 64)) == ["provenance"]
    assert found(tmp_path, Target(), "{}") == ["provenance"]
    assert found(tmp_path, Target(), None) == []


@pytest.mark.parametrize(
    ("target", "flagged"),
    [
        (Target(), False),
        (Target(native_fp8=True), True),
        (Target(triton="3.8.0"), True),
        (Target(GPUS["RTX 5090"]), True),
        (Target(GPUS["A100"]), False),
    ],
)
def test_a_table_for_another_lowering_is_flagged(tmp_path: Path, target: Target, flagged: bool) -> None:
    assert ("lowering" in found(tmp_path, target, MADE.to_json())) is flagged


def test_a_table_for_another_triton_is_said_to_be_one(tmp_path: Path) -> None:
    other = replace(MADE, versions={"triton": "3.4.0"}).to_json()
    assert found(tmp_path, Target(), other) == ["made_for"]
    assert found(tmp_path, Target(triton="3.4.0"), other) == ["folder"]


def test_a_provenance_beside_is_taken_for_no_table(tmp_path: Path) -> None:
    found(tmp_path, Target(), MADE.to_json())
    assert [Path(one.path).name for one in table_files([tmp_path])] == [f"{NAME}.json"]
