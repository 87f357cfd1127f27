"""Causes, held against a folder of log tails with their true wording: one case a folder, its source in case.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.launch.node import RunningRank
from deploy.launch.watch.cause import Case, name
from deploy.launch.watch.evidence import KEPT_HEAD, KEPT_TAIL, Evidence, cut, free_disk, killed_by_kernel, sections
from deploy.launch.watch.marks import ROOTS
from deploy.launch.watch.trouble import Trouble

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "causes"
FABRIC = {f"192.168.101.1{rank + 1}": rank for rank in range(4)}


def evidence(folder: Path, rank: int, told: dict[str, Any]) -> Evidence:
    file = folder / f"rank{rank}.log"
    log = tuple(file.read_text().splitlines()) if file.exists() else ()
    found = None
    if "state" in told:
        oom = told.get("oom", False)
        found = RunningRank("c", rank, "x", "", "", told["state"], "", told.get("code", 0), oom)
    kernel, disk = tuple(told.get("kernel", ())), told.get("disk_free")
    return Evidence(rank, found, told.get("finished"), told.get("lost", ""), told.get("engine", ""), log, kernel, disk)


def case(folder: Path) -> tuple[Case, dict[str, Any]]:
    told = json.loads((folder / "case.json").read_text())
    ranks = {int(rank): evidence(folder, int(rank), one) for rank, one in told["ranks"].items()}
    return Case(Trouble(**told["trouble"]), ranks, FABRIC), told["expect"]


@pytest.mark.parametrize("folder", sorted(GOLDEN.iterdir()), ids=lambda folder: folder.name)
def test_the_cause_is_named(folder: Path) -> None:
    found, expect = case(folder)
    cause = name(found)
    assert (cause.kind, cause.rank) == (expect["kind"], expect["rank"]), cause
    assert expect["text"] in cause.text


def test_every_mark_has_a_case() -> None:
    told = {json.loads((folder / "case.json").read_text())["expect"]["kind"] for folder in GOLDEN.iterdir()}
    assert {mark.kind for mark in ROOTS} <= told


def test_a_healthy_log_has_no_mark() -> None:
    record = json.loads((GOLDEN.parents[1] / "gpu" / "record" / "0.5.14.json").read_text())
    survivors = [rank["last_lines"] for life in record["lives"] for rank in life["ranks"]]
    assert not [line for lines in survivors for line in lines for mark in ROOTS if mark.pattern.search(line)]


def test_the_lines_around_the_mark_are_shown() -> None:
    found, _ = case(GOLDEN / "out-of-shared-memory")
    assert any("OutOfResources" in line for line in name(found).lines)


def test_a_long_log_says_where_its_middle_was_left_out() -> None:
    assert cut(b"short") == b"short"
    long = b"a" * KEPT_HEAD + b"b" * KEPT_TAIL
    assert b"is left out here" in cut(long)
    assert cut(long).endswith(b"b" * KEPT_TAIL)


def test_what_the_script_prints_is_read_by_sections() -> None:
    text = "### id\nabc\n### disk\nFilesystem 1024-blocks Used Available Capacity Mounted on\n"
    text += "/dev/sda1 100 10 90 10% /\n/dev/sdb 100 98 2 98% /var\n### gpu\n"
    parts = sections(text)
    assert parts["id"] == "abc"
    assert free_disk(parts["disk"]) == 2048
    assert free_disk("df: nothing") is None
    assert parts["gpu"] == ""


def test_only_a_kill_in_this_very_container_is_its_own() -> None:
    mine = "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/abc,task=python3"
    other = "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/def,task=python3"
    assert killed_by_kernel(f"{mine}\n{other}\nOut of memory in abc", "abc") == (mine,)
    assert killed_by_kernel(mine, "") == ()
