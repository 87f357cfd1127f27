"""SGLang's rule for kernel tables: names, folders, fallbacks, the nearest config, and pairs that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.lab.standin.tables import Shape, TablePairError, check_pair, default_block, fallbacks, look_up, nearest

SHAPE = Shape(160, 384, "NVIDIA_GB10", "fp8_w8a8")
OTHERS = ("3.4.0", "3.3.1")


def put(folder: Path, version: str, name: str) -> Path:
    """An empty table."""
    path = folder / "configs" / f"triton_{version}" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"1": {"BLOCK_SIZE_M": 16}}))
    return path


def test_names_are_those_that_sglang_looks_for() -> None:
    assert SHAPE.file_name(False) == "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"
    assert SHAPE.file_name(True) == "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json"
    assert Shape(8, 4, "X", "").file_name(False) == "E=8,N=4,device_name=X.json"


def test_the_running_tritons_folder_comes_first(tmp_path: Path) -> None:
    path = put(tmp_path, "3_5_0", "a.json")
    put(tmp_path, "3_4_0", "a.json")
    found = look_up(tmp_path, "3.5.0", OTHERS, "a.json")
    assert found.table == {1: {"BLOCK_SIZE_M": 16}}
    assert found.line == f"Using MoE kernel config from {path}."


def test_a_fallback_is_used_and_said(tmp_path: Path) -> None:
    put(tmp_path, "3_3_1", "a.json")
    found = look_up(tmp_path, "3.5.0", OTHERS, "a.json")
    assert found.table
    assert "Fallback to triton version 3.3.1 and use MoE kernel config from" in found.line


def test_a_folder_that_sglang_does_not_know_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, "3_3_0", "a.json")
    found = look_up(tmp_path, "3.5.0", OTHERS, "a.json")
    assert found.table is None
    assert found.line.startswith("Using default MoE kernel config. Performance might be sub-optimal! Config file not")


def test_fallbacks_are_read_from_the_source() -> None:
    assert fallbacks("def f():\n    supported_triton_versions = ['3.4.0', '3.1.0']\n") == ("3.4.0", "3.1.0")
    assert fallbacks("") == ()


def test_of_two_equally_near_keys_the_first_in_the_file_is_taken() -> None:
    assert nearest({2: {"n": 2}, 4: {"n": 4}}, 3) == {"n": 2}
    assert nearest({4: {"n": 4}, 2: {"n": 2}}, 3) == {"n": 4}


def test_pairs_must_agree_for_every_batch() -> None:
    up = {1: {"BLOCK_SIZE_M": 16}, 64: {"BLOCK_SIZE_M": 64}}
    check_pair(up, up, SHAPE, range(1, 100))
    check_pair(up, None, SHAPE, range(1, 100))
    with pytest.raises(TablePairError, match="for 33 tokens"):
        check_pair(up, {1: {"BLOCK_SIZE_M": 16}}, SHAPE, range(1, 100))


def test_a_down_table_alone_is_held_against_the_default() -> None:
    assert (default_block(160, SHAPE), default_block(161, SHAPE)) == (64, 128)
    check_pair(None, {1: {"BLOCK_SIZE_M": 64}}, SHAPE, [8])
    with pytest.raises(TablePairError):
        check_pair(None, {1: {"BLOCK_SIZE_M": 64}}, SHAPE, [8, 512])
