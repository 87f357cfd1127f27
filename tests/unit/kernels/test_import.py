"""Tables from elsewhere: what is taken, under which name, what is refused, and what is written."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.errors import KernelError
from deploy.kernels import candidates
from deploy.kernels.candidates import Found
from deploy.kernels.finding import Target
from deploy.kernels.install import judged, put, refuse, selected, written
from deploy.kernels.provenance import Provenance, Source, checksum, file_name, parse
from deploy.kernels.repository import is_address, shown
from tests.unit.kernels.samples import CRASHING, GOOD, NAME, text

TABLE = text({1: GOOD, 4096: GOOD}).encode()
FILES = {f"x/configs/triton_3_4_0/{NAME}.json": TABLE, "x/README.md": b"", "x/package.json": b"{}"}


def packed(tmp_path: Path, kind: str, files: dict[str, bytes] = FILES) -> Path:
    path = tmp_path / f"tables.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tgz", "tar"])
def test_an_archive_gives_its_tables_and_nothing_else(tmp_path: Path, kind: str) -> None:
    assert candidates.of_archive(packed(tmp_path, kind)) == {f"x/configs/triton_3_4_0/{NAME}.json": TABLE}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize("name", [f"../{NAME}.json", f"/etc/{NAME}.json", f"a/../../{NAME}.json", f"a\x1b/{NAME}.json"])
def test_a_path_that_leads_out_of_an_archive_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(KernelError, match="is no path inside"):
        candidates.of_archive(packed(tmp_path, kind, {name: TABLE}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_an_archive_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "tables.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(f"{NAME}.json")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(KernelError, match="is a link"):
        candidates.of_archive(path)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tables.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo(f"{NAME}.json")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(KernelError, match="is a link"):
        candidates.of_archive(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nothing", b"\x1f\x8b\x08"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tables.tgz"
    path.write_bytes(content)
    with pytest.raises(KernelError, match="cannot be read as an archive"):
        candidates.of_archive(path)


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST_BYTES", 3000)
    with pytest.raises(KernelError, match="unpacks to more"):
        candidates.of_archive(packed(tmp_path, "tgz", {f"{number}/{NAME}.json": TABLE * 10 for number in range(9)}))
    monkeypatch.setattr(candidates, "MOST_FILES", 3)
    with pytest.raises(KernelError, match="more than 3 files"):
        candidates.of_archive(packed(tmp_path, "zip", {f"{number}/{NAME}.json": TABLE for number in range(9)}))


def test_a_folder_and_a_file_give_their_tables(tmp_path: Path) -> None:
    table = tmp_path / "triton_3_5_0" / f"{NAME}.json"
    table.parent.mkdir()
    table.write_bytes(TABLE)
    (tmp_path / "package.json").write_text("{}")
    Path(file_name(str(table))).write_text("{}")
    assert set(candidates.of_folder(tmp_path)) == {f"triton_3_5_0/{NAME}.json", file_name(f"triton_3_5_0/{NAME}.json")}
    assert set(candidates.of_folder(table)) == {f"{NAME}.json", file_name(f"{NAME}.json")}


def names(found: Found, target: Target) -> list[str]:
    return [str(one.name) for one in selected(found, target)]


def test_a_name_is_mended_for_the_sglang_that_reads_it() -> None:
    block = NAME + ",block_shape=[128,128]"
    found = {f"{block}.json": TABLE, f"{NAME},per_channel_quant=True.json": TABLE}
    assert names(found, Target()) == [f"{NAME},block_shape=[128, 128].json", f"{NAME}.json"]
    assert names(found, Target(sglang="0.5.6"))[1] == f"{NAME},per_channel_quant=True.json"


def test_of_several_tritons_the_one_that_sglang_would_read_first_is_taken() -> None:
    found = {f"triton_{version}/{NAME}.json": TABLE for version in ("3_1_0", "3_3_0", "3_4_0")}
    assert [one.triton for one in selected(found, Target())] == ["3.4.0"]


def test_two_tables_of_one_name_are_not_chosen_between() -> None:
    found = {f"{place}/triton_3_4_0/{NAME}.json": TABLE + b" " * size for size, place in enumerate("ab")}
    with pytest.raises(KernelError, match="different tables of one name"):
        selected(found, Target())


@pytest.mark.parametrize("name", ["a.json", NAME.replace("GB10", "H200") + ".json"])
def test_a_source_without_a_table_for_the_gpu_says_what_it_has(name: str) -> None:
    with pytest.raises(
        KernelError, match=r"no table for NVIDIA_GB10: there (is no table at all|are tables for NVIDIA_H200)"
    ):
        selected({name: TABLE}, Target())


def test_what_cannot_run_is_refused_with_entry_bytes_and_limit(tmp_path: Path) -> None:
    imports = selected({f"{NAME}.json": text({1: GOOD, 512: CRASHING}).encode()}, Target())
    with pytest.raises(KernelError, match=r"512: needs 147,456 bytes .* may have 101,376"):
        refuse(judged(imports, Target(), tmp_path))
    broken = selected({f"{NAME}.json": b"{}"}, Target())
    with pytest.raises(KernelError, match="has no entries"):
        refuse(judged(broken, Target(), tmp_path))


def installed(found: Found, place: Path) -> dict[str, bytes]:
    imports = selected(found, Target())
    return written(imports, judged(imports, Target(), place), Target(), Source("git", "u", "c"), "2026-11-21T00:00:00Z")


def test_a_table_is_written_to_the_byte_with_its_provenance(tmp_path: Path) -> None:
    files = installed(FILES, tmp_path)
    assert put(files, tmp_path / "triton_3_5_0", force=False) == (f"{NAME}.json",)
    assert (tmp_path / "triton_3_5_0" / f"{NAME}.json").read_bytes() == TABLE
    read = parse((tmp_path / "triton_3_5_0" / file_name(f"{NAME}.json")).read_bytes())
    assert (read.origin, read.sha256, read.versions) == ("imported", checksum(TABLE), {"triton": "3.4.0"})
    assert read.source == Source("git", "u", "c", f"x/configs/triton_3_4_0/{NAME}.json")
    assert [(one.mode, one.largest, one.limit, one.runs) for one in read.proofs] == [("fast", 30_720, 101_376, True)]


def test_what_a_source_says_of_its_table_is_kept_where_it_is_true_of_it(tmp_path: Path) -> None:
    true, false = (Provenance(one, "tuned", "on a Spark", lowering="native") for one in (checksum(TABLE), "0" * 64))
    for said, lowering in ((true, "native"), (false, None)):
        found = {f"{NAME}.json": TABLE, file_name(f"{NAME}.json"): said.to_json().encode()}
        read = parse(installed(found, tmp_path)[file_name(f"{NAME}.json")])
        assert read.lowering == lowering
        assert (read.how == "on a Spark") is (lowering is not None)


def test_another_table_is_never_replaced_unasked(tmp_path: Path) -> None:
    put(installed(FILES, tmp_path), tmp_path, force=False)
    assert put(installed(FILES, tmp_path), tmp_path, force=False) == ()
    other = installed({f"{NAME}.json": text({1: GOOD | {"num_stages": 3}}).encode()}, tmp_path)
    with pytest.raises(KernelError, match="another table is there already"):
        put(other, tmp_path, force=False)
    assert json.loads((tmp_path / f"{NAME}.json").read_text())["1"] == GOOD
    assert put(other, tmp_path, force=True) == (f"{NAME}.json",)
    assert not list(tmp_path.glob(".*"))


def test_an_address_is_told_from_a_path_and_shown_without_its_password() -> None:
    assert all(map(is_address, ("https://h/x.git", "ssh://git@h/x", "git@h:x/y.git#v1", "file:///x", "ftp://x/y")))
    assert not any(map(is_address, ("configs", "./a.zip", "lmsysorg/sglang:spark", "C:/x", "localhost:5000/a:b")))
    assert shown("https://user:secret@host/x") == "https://host/x"
