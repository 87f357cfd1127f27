"""Blobs that are cut anywhere, and registries that say something else."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest

from deploy.errors import CutError, RegistryError
from deploy.registry.blob import Blob
from deploy.registry.call import Body, Call
from deploy.registry.manifest import sha256
from deploy.registry.patience import Patience

CONTENT = random.Random(1).randbytes(3_000_000)


class Said:
    """An answer whose body breaks off after `most` bytes; with an error, or with an early end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, most: int, *, loud: bool) -> None:
        self.status, self.headers = status, headers
        self._body, self._most, self._loud = io.BytesIO(body), most, loud

    def read(self, most: int) -> bytes:
        piece = self._body.read(min(most, self._most))
        self._most -= len(piece)
        if not piece and not self._most and self._loud:
            raise CutError("it broke")
        return piece

    def close(self) -> None:
        self._body.close()


class Cutting:
    """In the place of a registry: breaks its answers off after these numbers of bytes, then no more."""

    def __init__(self, *cuts: int, ranges: bool = True, loud: bool = True, content: bytes = CONTENT) -> None:
        self.patience = Patience(waits=(0.0,) * 3, sleep=lambda _: None)
        self.cuts, self.ranges, self.loud, self.content = list(cuts), ranges, loud, content
        self.asked: list[str] = []

    def ask(self, call: Call) -> Any:
        said = call.headers.get("Range", "")
        self.asked.append(said)
        most = self.cuts.pop(0) if self.cuts else 1 << 40
        if said and self.ranges:
            at = int(said.removeprefix("bytes=").removesuffix("-"))
            head = {"Content-Range": f"bytes {at}-{len(self.content) - 1}/{len(self.content)}"}
            return Said(206, head, self.content[at:], most, loud=self.loud)
        return Said(200, {"Content-Length": str(len(self.content))}, self.content, most, loud=self.loud)


def blob(registry: Cutting, size: int = len(CONTENT), start: int = 0, digest: str = sha256(CONTENT)) -> Blob:
    return Blob(registry, Call("GET", "x", "reading x"), digest, size, start)  # type: ignore[arg-type]


@pytest.mark.parametrize("loud", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_blob_comes_whole_wherever_it_is_cut(ranges: bool, loud: bool) -> None:
    chance = random.Random(2)
    for _ in range(10):
        registry = Cutting(*(chance.randrange(len(CONTENT)) for _ in range(3)), ranges=ranges, loud=loud)
        assert b"".join(blob(registry).pieces()) == CONTENT


def test_it_goes_on_from_the_very_byte() -> None:
    registry = Cutting(1_000_001, 5)
    assert b"".join(blob(registry).pieces()) == CONTENT
    assert registry.asked == ["", "bytes=1000001-", "bytes=1000006-"]


def test_breaks_without_progress_are_counted_and_those_with_it_are_not() -> None:
    with pytest.raises(RegistryError, match=r"it broke \(tried 4 times\)"):
        b"".join(blob(Cutting(0, 1, 2, 3)).pieces())
    long = CONTENT * 3
    registry = Cutting(*[1_100_000] * 7, content=long)
    assert b"".join(blob(registry, len(long), digest=sha256(long)).pieces()) == long


def test_a_wrong_byte_keeps_the_end_back() -> None:
    taken = []
    with pytest.raises(RegistryError, match="not what its checksum says"):
        taken.extend(blob(Cutting(content=b"x" + CONTENT[1:])).pieces())
    assert sum(map(len, taken)) < len(CONTENT)


def test_another_size_than_the_manifests_is_said_before_anything_is_read() -> None:
    with pytest.raises(RegistryError, match="has 3000000 bytes where there should be 2999999"):
        blob(Cutting(), len(CONTENT) - 1).read(1)


def test_a_size_that_is_not_known_is_taken_from_the_registry_and_the_checksum_is_held_to() -> None:
    assert b"".join(blob(Cutting(2_000_000), -1).pieces()) == CONTENT
    with pytest.raises(RegistryError, match="checksum"):
        b"".join(blob(Cutting(), -1, digest=sha256(b"")).pieces())


def test_a_blob_is_read_from_a_byte_on() -> None:
    assert b"".join(blob(Cutting(7), start=2_000_000).pieces()) == CONTENT[2_000_000:]


def test_the_first_bytes_can_be_read_and_the_rest_left() -> None:
    with io.BufferedReader(blob(Cutting())) as file:
        assert file.read(10) == CONTENT[:10]


def test_an_empty_blob_is_read_without_asking() -> None:
    registry = Cutting(content=b"")
    assert (list(blob(registry, 0, digest=sha256(b"")).pieces()), registry.asked) == ([], [])


def test_a_registry_that_answers_with_another_range_is_not_believed() -> None:
    registry = Cutting(10)
    registry.content = CONTENT
    one = blob(registry)
    one.read(10)
    registry.ask = lambda call: Said(206, {"Content-Range": "bytes 0-9/10"}, CONTENT, 10, loud=True)  # type: ignore[method-assign]
    with pytest.raises(RegistryError, match="asked from byte 10 on, it sent bytes 0-9/10"):
        one.read(10)


@pytest.mark.parametrize("size", [3, 5])
def test_a_body_of_another_size_than_was_said_does_not_end_well(size: int) -> None:
    with pytest.raises(RegistryError, match="1 bytes too"):
        list(Body(size, lambda: iter([b"ab", b"cd"])))
