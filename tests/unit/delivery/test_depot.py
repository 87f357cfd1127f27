"""Blobs that are fetched once for all who read them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.delivery.depot import Depot, LostError
from deploy.errors import RegistryError
from deploy.registry.manifest import Descriptor
from tests.unit.delivery.samples import CONTENTS, fetch, parcel

BLOB = parcel().manifest.layers[0]


def test_a_blob_is_fetched_once_and_read_from_any_byte(tmp_path: Path) -> None:
    fetched = []

    def counted(blob: Descriptor) -> Iterator[bytes]:
        fetched.append(blob.digest)
        return fetch(blob)

    depot = Depot(counted, tmp_path / "depot")
    for start in (0, 1, 699_999):
        assert b"".join(depot.read(BLOB, start)) == CONTENTS[0][start:]
    assert fetched == [BLOB.digest]
    depot.close()
    assert list((tmp_path / "depot").iterdir()) == []


def test_several_read_while_it_still_comes(tmp_path: Path) -> None:
    more = threading.Event()

    def slow(blob: Descriptor) -> Iterator[bytes]:
        yield CONTENTS[0][:1000]
        assert more.wait(10)
        yield CONTENTS[0][1000:]

    depot = Depot(slow, tmp_path)
    readers = [depot.read(BLOB), depot.read(BLOB)]
    assert [next(one) for one in readers] == [CONTENTS[0][:1000]] * 2
    more.set()
    assert [b"".join(one) for one in readers] == [CONTENTS[0][1000:]] * 2
    depot.close()


def test_a_blob_that_breaks_off_is_never_read_to_an_end_and_is_fetched_anew_when_asked_for_again(
    tmp_path: Path,
) -> None:
    tries = []

    def broken_once(blob: Descriptor) -> Iterator[bytes]:
        tries.append(blob)
        if len(tries) == 1:
            yield CONTENTS[0][:1000]
            raise RegistryError("the registry is gone", "see its log")
        yield from fetch(blob)

    depot = Depot(broken_once, tmp_path)
    with pytest.raises(LostError):
        b"".join(depot.read(BLOB))
    assert depot.troubles == ["the registry is gone"]
    assert b"".join(depot.read(BLOB, 500)) == CONTENTS[0][500:]
    depot.close()


def test_a_fetch_ends_when_nobody_wants_more(tmp_path: Path) -> None:
    ended = threading.Event()

    def endless(blob: Descriptor) -> Iterator[bytes]:
        try:
            yield CONTENTS[0][:1]
            while True:
                yield b""
        finally:
            ended.set()

    depot = Depot(endless, tmp_path)
    reader = depot.read(BLOB)
    next(reader)
    depot.close()
    assert ended.wait(10)
    with pytest.raises(LostError):
        next(reader)
