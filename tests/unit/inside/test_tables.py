"""Tables as SGLang would find them in an image: what is refused, and under which id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.inside import tables
from deploy.kernels.finding import Target
from tests.unit.inside.image import inside, one, outcomes

NAME = "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8"
ENTRY = {
    "BLOCK_SIZE_M": 64,
    "BLOCK_SIZE_N": 128,
    "BLOCK_SIZE_K": 128,
    "GROUP_SIZE_M": 1,
    "num_warps": 4,
    "num_stages": 3,
}
LARGE = {**ENTRY, "BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "num_stages": 4}


@pytest.fixture(autouse=True)
def no_triton_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "running_triton", lambda: "3.5.0")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tables.home(tmp_path, Target())
    folder.mkdir(parents=True)
    return folder


def put(home: Path, name: str, **entries: Any) -> None:
    (home / f"{name}.json").write_text(json.dumps(entries))


def failed(folder: Path, **built_for: Any) -> dict[str, str]:
    found = outcomes(list(tables.checks(inside(folder, **built_for))))
    return {name: outcome for name, outcome in found.items() if outcome != "passed"}


def test_a_table_that_fits_passes(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"1": ENTRY, "64": ENTRY})
    checks = list(tables.checks(inside(tmp_path)))
    assert failed(tmp_path) == {}
    assert [check.id for check in checks] == ["tables." + end for end in ("found", "read", "name", "fit", "pair")]


def test_an_entry_that_is_too_large_fails_with_its_bytes_and_the_limit(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"1": ENTRY, "256": LARGE})
    assert failed(tmp_path) == {"tables.fit": "failed"}
    seen = one(list(tables.checks(inside(tmp_path))), "tables.fit").seen
    assert f"{NAME}.json: 256: needs 147,456 bytes" in seen
    assert "101,376" in seen


def test_what_is_allowed_is_still_said(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"256": LARGE})
    assert failed(tmp_path, allow=("unsafe-table",)) == {"tables.fit": "allowed"}
    assert failed(tmp_path, allow=("unknown-base",)) == {"tables.fit": "failed"}


def test_a_table_under_another_triton_is_not_found(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, NAME, **{"1": ENTRY})
    monkeypatch.setattr(tables, "running_triton", lambda: "3.6.0")
    assert failed(tmp_path) == {"tables.found": "failed"}
    assert "triton_3_6_0" in one(list(tables.checks(inside(tmp_path))), "tables.found").seen


def test_a_broken_file_fails_with_its_name(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"1": ENTRY})
    (home / f"{NAME}_down.json").write_text('{"1": ')
    assert failed(tmp_path) == {"tables.read": "failed"}
    assert f"{NAME}_down.json" in one(list(tables.checks(inside(tmp_path))), "tables.read").seen


@pytest.mark.parametrize("name", [f"{NAME},per_channel_quant=True", "E=160,N=384,device=NVIDIA_GB10"])
def test_a_name_that_this_sglang_never_looks_up_fails(tmp_path: Path, home: Path, name: str) -> None:
    put(home, NAME, **{"1": ENTRY})
    put(home, name, **{"1": ENTRY})
    assert failed(tmp_path) == {"tables.name": "failed"}


def test_a_pair_that_would_end_the_rank_fails(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"1": ENTRY})
    put(home, f"{NAME}_down", **{"1": {**ENTRY, "BLOCK_SIZE_M": 32}})
    assert failed(tmp_path) == {"tables.pair": "failed"}


def test_a_table_of_another_gpu_need_not_fit_ours(tmp_path: Path, home: Path) -> None:
    put(home, NAME, **{"1": ENTRY})
    put(home, NAME.replace("GB10", "H200"), **{"1": LARGE})
    assert failed(tmp_path) == {}


def test_tables_of_other_gpus_alone_are_no_table_for_ours(tmp_path: Path, home: Path) -> None:
    put(home, NAME.replace("GB10", "H200"), **{"1": ENTRY})
    assert failed(tmp_path) == {"tables.found": "failed"}
