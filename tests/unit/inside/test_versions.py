"""Which versions are judged to be those that the image was built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.inside import versions
from tests.unit.inside.image import STAND_IN, inside, one, outcomes

GATE = "def start():\n    assert_pkg_version(\n        'sgl-kernel', '0.3.16.post4', f'words')\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What pip would name; the packages themselves lie in tmp_path."""
    found = {"sglang": "0.5.4.post2", "torch": "2.9.0+cu130", "sgl-kernel": "0.3.16.post5"}
    monkeypatch.setattr(versions, "installed", lambda name: found.get(name, ""))
    monkeypatch.setattr(versions, "place", lambda module: tmp_path / module if (tmp_path / module).is_dir() else None)
    for module, file, version in (("sglang", "version.py", "0.5.4.post2"), ("triton", "__init__.py", "3.5.0")):
        (tmp_path / module).mkdir()
        (tmp_path / module / file).write_text(f"import os\n__version__ = {version!r}\n")
    return found


def test_the_version_that_the_base_and_its_files_have_passes(tmp_path: Path, installed: dict[str, str]) -> None:
    checks = list(versions.sglang(inside(tmp_path), frozenset({"0.5.4.post2"})))
    assert outcomes(checks) == {"sglang.place": "passed", "sglang.version": "passed"}


@pytest.mark.parametrize("wanted", ["0.5.4.post2", "0.5.4.post3"])
def test_a_base_may_call_itself_by_the_release_before_its_files(
    tmp_path: Path, installed: dict[str, str], wanted: str
) -> None:
    """As the real base is thought to: the name of post2, the files of post3. Both are true of it, and both are said."""
    checks = list(versions.sglang(inside(tmp_path, sglang=wanted), frozenset({"0.5.4.post3"})))
    check = one(checks, "sglang.version")
    assert check.outcome == "passed"
    assert check.seen == "calls itself 0.5.4.post2; the patched files are those of 0.5.4.post3"


def test_another_sglang_fails(tmp_path: Path, installed: dict[str, str]) -> None:
    check = one(list(versions.sglang(inside(tmp_path, sglang="0.5.5"), frozenset({"0.5.4.post2"}))), "sglang.version")
    assert (check.outcome, check.needed) == ("failed", "image.sglang: 0.5.5")


def test_an_sglang_that_is_imported_from_elsewhere_fails(tmp_path: Path, installed: dict[str, str]) -> None:
    checks = list(versions.sglang(inside(tmp_path, tree="/sgl-workspace/sglang/python"), frozenset()))
    assert one(checks, "sglang.place").outcome == "failed"
    assert str(tmp_path) in one(checks, "sglang.place").seen


def test_another_triton_fails_since_no_table_would_be_found(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "triton" / "__init__.py").write_text("__version__ = '3.4.0'\n")
    check = versions.triton(inside(tmp_path))
    assert (check.outcome, check.seen) == ("failed", "3.4.0")
    assert "3.5.0" in check.needed


def test_what_is_missing_fails_but_not_in_a_stand_in(tmp_path: Path, installed: dict[str, str]) -> None:
    installed.clear()
    (tmp_path / "triton" / "__init__.py").unlink()
    for stand_in, outcome in (("", "failed"), (STAND_IN, "not_checked")):
        image = inside(tmp_path, stand_in=stand_in)
        checks = [versions.triton(image), versions.torch(image), *versions.gated(image)]
        assert set(outcomes(checks).values()) == {outcome}
        assert len(checks) == 3


@pytest.mark.parametrize(("found", "outcome"), [("0.3.16.post4", "passed"), ("0.3.17", "passed"), ("0.3.16", "failed")])
def test_sglangs_own_gate_is_held_before_it_ends_a_server(
    tmp_path: Path, installed: dict[str, str], found: str, outcome: str
) -> None:
    (tmp_path / versions.GATES).parent.mkdir(parents=True)
    (tmp_path / versions.GATES).write_text(GATE)
    installed["sgl-kernel"] = found
    assert outcomes(list(versions.gated(inside(tmp_path)))) == {"sgl-kernel.version": outcome}


def test_a_package_that_is_not_installed_has_no_place_and_no_version() -> None:
    assert versions.place("no_such_package_here") is None
    assert versions.installed("no-such-package-here") == ""
