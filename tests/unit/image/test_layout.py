"""What is laid on a base is what the Dockerfile copies, and where it copies it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.image.base.sight import Base, File
from deploy.image.context import build_context
from deploy.image.dockerfile import TREE, TUNING
from deploy.image.layer import Entry, file
from deploy.image.layout import HOME, ROOT, nccl, placed, project, tuning, wanted
from deploy.image.patched import manifest

IMAGE = Image(repository="ghcr.io/me/image")
SITE = "usr/local/lib/python3.12/dist-packages"
PARSER = "sglang/srt/function_call/function_call_parser.py"


def by_path(entries: list[Entry]) -> dict[str, Entry]:
    assert len({one.path for one in entries}) == len(entries)
    return {one.path: one for one in entries}


def destinations(dockerfile: str) -> set[str]:
    """Where the Dockerfile copies the project's own files to."""
    copies = re.findall(r"^COPY ((?:[^\\\n]|\\\n)+)", dockerfile, re.MULTILINE)
    return {words.split()[-1].strip("/") for words in copies if not words.startswith(("--from", "deploy/image/wheels"))}


@pytest.mark.parametrize("image", [IMAGE, IMAGE.with_tune])
def test_every_file_of_the_context_has_its_place_and_the_dockerfile_copies_to_no_other(
    image: Image, root: Path
) -> None:
    context = build_context(image, root)
    found = placed(image, context)
    pins = [path for path in context.sources if path.startswith("deploy/image/wheels/")]
    assert len(found) == len(context.sources) - len(pins)
    assert found[f"{HOME}/patches/manifest.json"] == context.files["patches/manifest.json"]
    for place in destinations(context.files["Dockerfile"].content.decode()):
        assert any(path == place or path.startswith(f"{place}/") for path in found), place


def test_what_the_patches_touch_is_what_is_looked_for(root: Path) -> None:
    patches = manifest(root / "patches")
    found = wanted(IMAGE, build_context(IMAGE, root), patches)
    assert set(found.needed) == set(patches.edits)
    assert "sglang/sglang-spark-patched.json" in found.possible
    assert {"opt", f"{ROOT}/sglang/srt/function_call"} <= set(found.folders)
    assert not [one for one in found.folders if one.startswith("opt/")]
    assert found.nccl
    assert f"/{found.tree}" == TREE


def test_a_changed_file_keeps_its_mode_and_loses_its_bytecode() -> None:
    cached = f"{ROOT}/sglang/srt/function_call/__pycache__/function_call_parser.cpython-312.pyc"
    other = cached.replace("function_call_parser", "base_format_detector")
    base = Base({PARSER: File(b"old", 0o640, "l")}, (cached, other), ("opt",))
    found = by_path(project({}, base, {PARSER: b"new"}))
    assert found[f"{ROOT}/{PARSER}"].mode == 0o640
    assert set(found) == {f"{ROOT}/{PARSER}", cached.replace("function_call_parser", ".wh.function_call_parser")}


@pytest.mark.parametrize(("unread", "made"), [(0, {"opt", "opt/sglang-spark"}), (3, {"opt/sglang-spark"})])
def test_folders_are_made_only_where_the_base_is_known_to_lack_them(unread: int, made: set[str], root: Path) -> None:
    one = build_context(IMAGE, root).files["patches/manifest.json"]
    found = by_path(project({f"{HOME}/it": one}, Base({}, unread=unread), {}))
    assert {path for path, entry in found.items() if entry.open is None} == made
    found = by_path(project({f"{HOME}/it": one}, Base({}, folders=("opt",), unread=0), {}))
    assert {path for path, entry in found.items() if entry.open is None} == {"opt/sglang-spark"}


def test_nccl_comes_in_the_place_of_the_bases_own() -> None:
    old, new = (f"{SITE}/nvidia_nccl_cu13-{version}.dist-info" for version in ("2.28.3", "2.30.7"))
    files = [file(f"{SITE}/nvidia/nccl/lib/libnccl.so.2", b""), file(f"{new}/RECORD", b"")]
    found = by_path(nccl(Base({}, nccl=(old,)), files, SITE))
    assert f"{SITE}/.wh.nvidia_nccl_cu13-2.28.3.dist-info" in found
    assert f"{SITE}/nvidia/nccl/.wh..wh..opq" in found
    assert {path for path, one in found.items() if one.open is None} == {
        *(f"{SITE}/nvidia/nccl", f"{SITE}/nvidia/nccl/lib", new)
    }


def test_the_same_nccl_again_is_no_contradiction() -> None:
    info = f"{SITE}/nvidia_nccl_cu13-2.30.7.dist-info"
    found = by_path(
        nccl(Base({}, nccl=(info,)), [file(f"{info}/RECORD", b""), file(f"{SITE}/nvidia/nccl/x", b"")], SITE)
    )
    assert {f"{info}/.wh..wh..opq", f"{info}/RECORD"} <= set(found)
    assert f"{SITE}/.wh.nvidia_nccl_cu13-2.30.7.dist-info" not in found


def test_the_tuner_has_a_folder_of_its_own() -> None:
    above = TUNING.lstrip("/")
    found = by_path(tuning([file(f"{above}/ray/x.py", b"")]))
    assert {path for path, one in found.items() if one.open is None} == {above, f"{above}/ray"}
