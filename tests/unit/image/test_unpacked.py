"""A wheel's files are those that pip would lay."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from deploy.errors import BuildError
from deploy.image.unpacked import entries, folders

INFO = "x-1.dist-info"


def wheel(to: Path, *more: str) -> Path:
    path = to / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x/lib/it.so", f"{INFO}/METADATA", f"{INFO}/RECORD", *more):
            one = zipfile.ZipInfo(name)
            one.external_attr = (0o100775 if name.endswith(".so") else 0o100664) << 16
            archive.writestr(one, f"x/lib/it.so,sha256=a,1\n{INFO}/RECORD,,\n" if name.endswith("RECORD") else name)
    return path


def read(found: list[object], path: str) -> bytes:
    entry = next(one for one in found if one.path == path)  # type: ignore[attr-defined]
    with entry.open() as content:  # type: ignore[attr-defined]
        return bytes(content.read())


def test_files_lie_below_the_folder_and_keep_the_executable_bit_alone(tmp_path: Path) -> None:
    found = entries(wheel(tmp_path), "site")
    modes = {one.path: one.mode for one in found}
    assert modes["site/x/lib/it.so"] == 0o755
    assert modes[f"site/{INFO}/METADATA"] == 0o644
    assert read(list(found), "site/x/lib/it.so") == b"x/lib/it.so"


def test_pip_finds_it_installed_by_pip(tmp_path: Path) -> None:
    found = entries(wheel(tmp_path), "site")
    assert read(list(found), f"site/{INFO}/INSTALLER") == b"pip\n"
    record = read(list(found), f"site/{INFO}/RECORD").decode().split("\r\n")
    assert record[:2] == [f"{INFO}/INSTALLER,sha256=zuuue4knoyJ-UwPPXg8fezS7VCrXJQrAP7zeNuwvFQg,4", f"{INFO}/RECORD,,"]
    assert {one.partition(",")[0] for one in record} == {
        *(f"{INFO}/{name}" for name in ("INSTALLER", "RECORD", "REQUESTED")),
        "x/lib/it.so",
        "",
    }


def test_all_folders_below_one_are_told(tmp_path: Path) -> None:
    assert folders(entries(wheel(tmp_path), "site"), "site") == {"site/x", "site/x/lib", f"site/{INFO}"}


@pytest.mark.parametrize("strange", ["x-1.data/scripts/run", "../x", "y-1.dist-info/METADATA"])
def test_what_belongs_elsewhere_is_refused(tmp_path: Path, strange: str) -> None:
    with pytest.raises(BuildError, match="only plain wheels are unpacked here"):
        entries(wheel(tmp_path, strange), "site")


def test_what_is_no_wheel_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no")
    with pytest.raises(BuildError, match=r"x\.whl: is no wheel"):
        entries(tmp_path / "x.whl", "site")
