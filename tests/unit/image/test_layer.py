"""The same entries give the same layer, to the byte; and nothing in it belongs to the machine that made it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib

import pytest

from deploy.image.layer import Entry, Packed, emptied, file, folder, hidden, write

ENTRIES = [
    file("opt/x/run", b"#!/bin/sh\n", 0o755),
    folder("opt/x"),
    file("opt/x/" + "long/" * 30 + "name", b"1"),
    file("opt/x/E=160,N=384", b"{}"),
    *emptied("usr/lib/nccl"),
    hidden("usr/lib/old.dist-info"),
]
DIFF_ID = "sha256:53fc56488766fa711ea736d7b92db524c862831364f802303b182739a544a0aa"
DIGEST = "sha256:cf7b3bb80bc00e4e2e53882fd8a3d9b533b82564118ba24b21dbb3b27309514f"
"""With zlib itself; zlib-ng packs otherwise, and the tar within is the same."""


def packed(entries: list[Entry], epoch: int = 0) -> tuple[Packed, bytes]:
    buffer = io.BytesIO()
    return write(entries, buffer, epoch), buffer.getvalue()


def test_a_layer_is_what_it_always_was() -> None:
    made, content = packed(ENTRIES)
    assert made.diff_id == DIFF_ID
    if "ng" not in zlib.ZLIB_RUNTIME_VERSION:
        assert made.digest == DIGEST
    assert made.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert made.diff_id == f"sha256:{hashlib.sha256(zlib.decompress(content, 31)).hexdigest()}"
    assert made.size == len(content)


def test_the_order_of_the_entries_does_not_count_and_their_content_and_mode_do() -> None:
    made, _ = packed(ENTRIES)
    assert packed(ENTRIES[::-1])[0] == made
    assert packed([file("opt/x/run", b"#!/bin/sh\n", 0o644), *ENTRIES[1:]])[0].diff_id != made.diff_id
    assert packed([file("opt/x/run", b"#!/bin/bash", 0o755), *ENTRIES[1:]])[0].diff_id != made.diff_id


def test_all_is_roots_and_of_one_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(ENTRIES, 1_700_000_000)[1])) as tar:
        found = list(tar)
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in found} == {(0, 0, "", "", 1_700_000_000)}
    assert [one.name for one in found] == sorted(one.name for one in found)
    assert {one.name for one in found if one.isdir()} == {"opt/x", "usr/lib/nccl"}


def test_what_the_base_has_and_the_image_has_not_is_marked_as_docker_does_it() -> None:
    assert hidden("a/b/c.pyc").path == "a/b/.wh.c.pyc"
    assert hidden("top").path == ".wh.top"
    assert [one.path for one in emptied("a/b")] == ["a/b", "a/b/.wh..wh..opq"]


def test_one_path_twice_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="opt/x: twice"):
        packed([folder("opt/x"), file("opt/x", b"")])
