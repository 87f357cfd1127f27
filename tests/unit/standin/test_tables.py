"""The tables that a rank of the stand-in reads: folders, fallbacks, lines, and pairs that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.kernels.finding import Target
from deploy.kernels.shape import Shape
from deploy.lab.standin.tables import TablePairError, check_pair, default_block, look_up

SHAPE = Shape(160, 384, 0, 0)
TARGET = Target(sglang="0.5.4.post2", triton="3.5.0")


def put(folder: Path, version: str, name: str) -> Path:
    """An empty table."""
    path = folder / "configs" / f"triton_{version}" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"1": {"BLOCK_SIZE_M": 16}}))
    return path


def test_the_running_tritons_folder_comes_first(tmp_path: Path) -> None:
    path = put(tmp_path, "3_5_0", "a.json")
    put(tmp_path, "3_4_0", "a.json")
    found = look_up(tmp_path, TARGET, "a.json")
    assert found.table == {1: {"BLOCK_SIZE_M": 16}}
    assert found.line == f"Using MoE kernel config from {path}."


def test_a_fallback_is_used_and_said(tmp_path: Path) -> None:
    put(tmp_path, "3_3_1", "a.json")
    found = look_up(tmp_path, TARGET, "a.json")
    assert found.table
    assert "Fallback to triton version 3.3.1 and use MoE kernel config from" in found.line


def test_a_folder_that_sglang_does_not_know_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, "3_3_0", "a.json")
    found = look_up(tmp_path, TARGET, "a.json")
    assert found.table is None
    assert found.line.startswith("Using default MoE kernel config. Performance might be sub-optimal! Config file not")


def test_newer_versions_fall_back_to_the_newest_folder_that_is_there(tmp_path: Path) -> None:
    for version in ("3_3_0", "3_6_0"):
        put(tmp_path, version, "a.json")
    found = look_up(tmp_path, Target(sglang="0.5.12"), "a.json")
    assert "Fallback to triton version 3.6.0 and use MoE kernel config from" in found.line


def test_a_table_is_read_as_leniently_as_sglang_reads_it(tmp_path: Path) -> None:
    path = put(tmp_path, "3_5_0", "a.json")
    path.write_text('{"04": {"BLOCK_SIZE_M": 17, "more": 1}, "2": {}}')
    assert look_up(tmp_path, TARGET, "a.json").table == {4: {"BLOCK_SIZE_M": 17, "more": 1}, 2: {}}


def test_pairs_must_agree_for_every_batch() -> None:
    up = {1: {"BLOCK_SIZE_M": 16}, 64: {"BLOCK_SIZE_M": 64}}
    check_pair(up, up, SHAPE, TARGET, range(1, 100))
    check_pair(up, None, SHAPE, TARGET, range(1, 100))
    with pytest.raises(TablePairError, match="for 33 tokens"):
        check_pair(up, {1: {"BLOCK_SIZE_M": 16}}, SHAPE, TARGET, range(1, 100))


def test_newer_versions_take_a_pair_that_differs() -> None:
    up, down = {1: {"BLOCK_SIZE_M": 16}}, {1: {"BLOCK_SIZE_M": 64}}
    check_pair(up, down, SHAPE, Target(sglang="0.5.13"), [1])


def test_a_down_table_alone_is_held_against_the_default() -> None:
    assert (default_block(160, SHAPE, TARGET), default_block(161, SHAPE, TARGET)) == (64, 128)
    check_pair(None, {1: {"BLOCK_SIZE_M": 64}}, SHAPE, TARGET, [8])
    with pytest.raises(TablePairError):
        check_pair(None, {1: {"BLOCK_SIZE_M": 64}}, SHAPE, TARGET, [8, 512])
