"""Findings and their cache: the same content has one name, and damage is no finding."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.proof import Cache, Finding, Proof, Target, key, read_finding
from deploy.kernels.gpu import GB10, GPUS
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config

KERNEL = Kernel(Config(64, 128, 128, 1, 4, 4), Shape(160, 384, 5120, 8, per_channel=True), "up", 64)
TARGET = Target(GB10, "0.5.4.post2", "3.5.0")
TOOLS = {"triton": "3.5.0", "ptxas": "13.0.88"}
FINDING = Finding(73_728, 168, 0, ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",), "", 0.5)
NAME = key(KERNEL, TARGET, TOOLS, only_shared=False)


@pytest.mark.parametrize(
    "other",
    [
        key(replace(KERNEL, gemm="down"), TARGET, TOOLS, False),
        key(replace(KERNEL, config=replace(KERNEL.config, num_stages=3)), TARGET, TOOLS, False),
        key(replace(KERNEL, tokens=63), TARGET, TOOLS, False),
        key(KERNEL, replace(TARGET, lowering="sm120"), TOOLS, False),
        key(KERNEL, replace(TARGET, gpu=GPUS["RTX 5090"]), TOOLS, False),
        key(KERNEL, TARGET, TOOLS | {"ptxas": "12.9.86"}, False),
        key(KERNEL, TARGET, TOOLS, True),
    ],
)
def test_another_content_has_another_name(other: str) -> None:
    assert other != NAME


def test_batches_that_triton_does_not_tell_apart_share_a_name() -> None:
    assert key(replace(KERNEL, tokens=4096), TARGET, TOOLS, False) == NAME


def test_what_is_put_is_got(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.get(NAME) is None
    cache.put(NAME, FINDING)
    assert cache.get(NAME) == FINDING
    assert Cache(tmp_path).get(NAME[::-1]) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"key": 1}', '{"key": "KEY", "finding": {}}', "\0\0"])
def test_a_damaged_file_is_not_there(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    cache.put(NAME, FINDING)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(damage.replace("KEY", NAME))
    assert cache.get(NAME) is None


def test_a_finding_under_another_name_is_not_there(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(NAME, FINDING)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(kept.read_text().replace(NAME, NAME[::-1]))
    assert cache.get(NAME) is None


@pytest.mark.parametrize("wrong", [{"shared": None}, {"shared": True}, {"registers": "64"}, {"instructions": None}])
def test_an_answer_of_another_kind_is_no_finding(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no finding"):
        read_finding(asdict(FINDING) | wrong)


def test_the_instruction_says_whether_fp8_is_multiplied_as_fp8() -> None:
    assert FINDING.native is False
    assert replace(FINDING, instructions=("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",)).native is True
    assert replace(FINDING, instructions=()).native is None


def test_a_proof_fits_only_with_a_finding_below_the_limit() -> None:
    assert Proof(KERNEL, FINDING).fits(GB10)
    assert not Proof(KERNEL, replace(FINDING, shared=101_377)).fits(GB10)
    assert not Proof(KERNEL, None, "it hangs").fits(GB10)
