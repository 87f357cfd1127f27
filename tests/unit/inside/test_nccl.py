"""Which NCCL is judged good, from what a process said that loaded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.inside import nccl
from tests.unit.inside.image import STAND_IN, Answer, inside, one, outcomes

FILE = "/usr/lib/python3/nvidia/nccl/lib/libnccl.so.2"
OTHER = "/usr/lib/aarch64-linux-gnu/libnccl.so.2"
MAPS = f"""\
7f00-7f01 r-xp 00000000 08:01 1234                       {FILE}
7f01-7f02 rw-p 00000000 08:01 1234                       {FILE}
7f02-7f03 r-xp 00000000 08:01 1235                       /usr/lib/libnccl-net.so
7f03-7f04 r-xp 00000000 08:01 1236                       /old dir/libnccl.so.2.28.9 (deleted)
7f04-7f05 rw-p 00000000 00:00 0
"""


def said(**more: Any) -> Answer:
    known = {"torch": "imported", "how": "as SGLang loads it", "loaded": {FILE: "2.30.7"}, "others": [], "error": ""}
    return Answer({**known, **more})


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {"nvidia-nccl-cu13": "2.30.7"}
    monkeypatch.setattr(nccl, "distributions", lambda: iter(found.items()))
    return found


def test_a_new_nccl_passes_and_is_named_with_its_file(tmp_path: Path) -> None:
    checks = list(nccl.checks(inside(tmp_path), said()))
    assert set(outcomes(checks).values()) == {"passed"}
    assert one(checks, "nccl.loaded").seen == f"2.30.7 from {FILE} (as SGLang loads it)"


def test_an_old_nccl_fails_and_the_cure_is_said(tmp_path: Path, packages: dict[str, str]) -> None:
    packages["nvidia-nccl-cu13"] = "2.28.9"
    checks = list(nccl.checks(inside(tmp_path), said(loaded={FILE: "2.28.9"})))
    for name in ("nccl.installed", "nccl.loaded"):
        check = one(checks, name)
        assert check.outcome == "failed"
        assert "2.28.9" in check.seen
        assert "2.29.3 or newer" in check.needed
        assert "image.nccl" in check.hint


def test_another_nccl_than_the_one_that_was_installed_fails(tmp_path: Path) -> None:
    checks = list(nccl.checks(inside(tmp_path, nccl="2.30.7"), said(loaded={OTHER: "2.31.0"})))
    assert outcomes(checks) == {"nccl.installed": "passed", "torch.import": "passed", "nccl.loaded": "failed"}
    assert one(checks, "nccl.loaded").needed == "2.30.7, as image.nccl says"


def test_two_in_one_process_fail_and_one_that_is_only_there_is_said(tmp_path: Path) -> None:
    two = {FILE: "2.30.7", OTHER: "2.30.7"}
    check = one(list(nccl.checks(inside(tmp_path), said(loaded=two))), "nccl.loaded")
    assert (check.outcome, "two NCCLs" in check.hint) == ("failed", True)
    check = one(list(nccl.checks(inside(tmp_path), said(others=[OTHER]))), "nccl.loaded")
    assert check.outcome == "passed"
    assert f"also here, not loaded: {OTHER}" in check.seen


def test_two_packages_that_own_the_same_files_fail(tmp_path: Path, packages: dict[str, str]) -> None:
    packages["nvidia-nccl-cu12"] = "2.30.7"
    check = one(list(nccl.checks(inside(tmp_path), said())), "nccl.installed")
    assert check.outcome == "failed"
    assert "nvidia-nccl-cu12 2.30.7, nvidia-nccl-cu13 2.30.7" in check.seen


def test_none_at_all_fails_but_is_not_checked_in_a_stand_in(tmp_path: Path, packages: dict[str, str]) -> None:
    packages.clear()
    none = said(torch="", loaded={}, error="cannot open shared object file")
    assert outcomes(list(nccl.checks(inside(tmp_path), none))) == {"nccl.loaded": "failed"}
    checks = list(nccl.checks(inside(tmp_path, stand_in=STAND_IN), none))
    assert outcomes(checks) == {"nccl.loaded": "not_checked"}
    assert STAND_IN in checks[0].seen


def test_an_old_one_fails_in_a_stand_in_too(tmp_path: Path) -> None:
    checks = list(nccl.checks(inside(tmp_path, stand_in=STAND_IN), said(loaded={FILE: "2.29.2"})))
    assert one(checks, "nccl.loaded").outcome == "failed"


def test_a_torch_that_cannot_be_imported_fails(tmp_path: Path) -> None:
    checks = list(nccl.checks(inside(tmp_path), said(torch="ImportError: libcudart.so.13")))
    assert one(checks, "torch.import").outcome == "failed"


def test_a_process_that_crashes_is_a_failure_with_its_words(tmp_path: Path) -> None:
    check = one(list(nccl.checks(inside(tmp_path), Answer("exit code -11: no output"))), "nccl.loaded")
    assert (check.outcome, "exit code -11" in check.seen) == ("failed", True)


def test_mapped_libraries_are_read_from_proc_and_plugins_are_none() -> None:
    assert nccl.mapped(MAPS) == ["/old dir/libnccl.so.2.28.9", FILE]


@pytest.mark.parametrize(
    ("code", "version"), [(23007, "2.30.7"), (22903, "2.29.3"), (2804, "2.8.4"), (21805, "2.18.5")]
)
def test_the_number_of_ncclgetversion_is_read(code: int, version: str) -> None:
    assert nccl.dotted(code) == version
