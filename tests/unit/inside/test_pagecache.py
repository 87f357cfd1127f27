"""The page cache of shards, on real files and the kernel's real page cache."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from deploy.inside.pagecache import cached, one_round, release, shards

SIZE = 8 << 20
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def resident(file: Path) -> int:
    """Bytes of a file that are in the page cache, by mincore(2); the file is mapped, and not read for it."""
    with file.open("rb") as handle:
        address = LIBC.mmap(None, SIZE, 0, mmap.MAP_SHARED, handle.fileno(), 0)
        pages = ctypes.create_string_buffer(SIZE // mmap.PAGESIZE)
        assert LIBC.mincore(address, SIZE, pages) == 0
        LIBC.munmap(address, SIZE)
    return sum(byte & 1 for byte in pages.raw) * mmap.PAGESIZE


def shard(file: Path) -> Path:
    """A file that is on disk, and wholly in the page cache."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as handle:
        handle.write(os.urandom(SIZE))
        handle.flush()
        os.fsync(handle.fileno())
    file.read_bytes()
    if os.statvfs(file).f_blocks == 0 or _in_memory(file):
        pytest.skip("this folder is in memory: nothing can be released there")
    return file


def _in_memory(file: Path) -> bool:
    rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mounts = [row for row in rows if str(file).startswith(row[1].rstrip("/") + "/")]
    return max(mounts, key=lambda row: len(row[1]))[2] in ("tmpfs", "ramfs")


def test_a_file_that_was_read_is_in_the_page_cache_until_it_is_released(tmp_path: Path) -> None:
    file = shard(tmp_path / "model-00001-of-00002.safetensors")
    assert resident(file) == SIZE
    release(file)
    assert resident(file) == 0
    assert len(file.read_bytes()) == SIZE


def test_what_is_mapped_and_used_stays(tmp_path: Path) -> None:
    file = shard(tmp_path / "model.safetensors")
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[: SIZE // 2].count(0) > 0
        release(file)
        assert SIZE // 2 <= resident(file) < SIZE


def test_a_round_releases_every_file_and_counts_them(tmp_path: Path) -> None:
    files = [shard(tmp_path / f"model-{number}.safetensors") for number in range(2)]
    seen = one_round(files)
    assert [resident(file) for file in files] == [0, 0]
    assert seen["files"] == 2
    assert min(seen["before"], seen["after"]) > 0


def test_the_page_cache_is_read_from_the_kernel_s_table(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nCached: 7 kB\nSwapCached: 9 kB\n")
    assert cached(tmp_path / "meminfo") == 7 * 1024


def test_an_empty_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "empty.safetensors").touch()
    assert one_round(shards(str(tmp_path), tmp_path))["files"] == 1


def test_shards_of_a_hub_s_name_are_found_behind_their_links(tmp_path: Path) -> None:
    home = tmp_path / "models--zai-org--GLM-4.7-FP8"
    (home / "blobs").mkdir(parents=True)
    (home / "blobs" / "abc").write_bytes(b"weights")
    for commit in ("one", "two"):
        (home / "snapshots" / commit).mkdir(parents=True)
        (home / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/abc")
        (home / "snapshots" / commit / "config.json").write_text("{}")
        (home / "snapshots" / commit / "gone.safetensors").symlink_to("../../blobs/never-loaded")
    assert shards("zai-org/GLM-4.7-FP8", tmp_path) == [home / "blobs" / "abc"]
    assert shards("zai-org/other", tmp_path) == []
