"""The words and the bytes between two nodes, over a pair of connected sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.weights import handshake
from deploy.weights.cache import ModelCache
from deploy.weights.manifest import File
from deploy.weights.receiving import Receiver, Upstream
from deploy.weights.sending import Sender
from tests.unit.weights.samples import BY_CHECKSUM, COMMIT, MANIFEST, cache

SHARD = MANIFEST.files[1]
CONTENT = BY_CHECKSUM[SHARD.checksum]


class Pair(Upstream):
    """An upstream whose connections go straight to a sender's thread."""

    def connect(self, file: File, start: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        threading.Thread(target=SENDERS[self.address]._answer, args=(theirs,), daemon=True).start()
        handshake.ask(ours, self.key, file.checksum, start)
        return ours


SENDERS: dict[str, Sender] = {}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelCache]:
    """A cache that is handed on under the name `given`, empty at first."""
    monkeypatch.setattr(handshake, "wait_for_bytes", lambda connection: connection.settimeout(None))
    made = cache(tmp_path / "given")
    made.blobs.mkdir(parents=True)
    SENDERS["given"] = Sender(made, MANIFEST, "key")
    yield made
    SENDERS.clear()


def receiver(folder: Path, key: str = "key") -> tuple[ModelCache, Receiver, list[Exception]]:
    made, failed = cache(folder), list[Exception]()
    return made, Receiver(made, MANIFEST, Pair("given", 1, key), failed.append), failed


def until(done: object, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def give(made: ModelCache) -> None:
    for checksum, content in BY_CHECKSUM.items():
        (made.blobs / checksum).write_bytes(content)


def test_what_one_has_the_other_gets(given: ModelCache, tmp_path: Path) -> None:
    give(given)
    made, one, failed = receiver(tmp_path / "taken")
    one.start()
    assert until(lambda: one.done)
    assert failed == []
    assert {path.name: path.read_bytes() for path in made.blobs.iterdir()} == BY_CHECKSUM


def test_a_file_is_handed_on_while_it_grows_but_its_last_byte_only_when_it_is_right(
    given: ModelCache, tmp_path: Path
) -> None:
    part = given.part(SHARD)
    part.write_bytes(CONTENT[:1000])
    made, one, _ = receiver(tmp_path / "taken")
    one.start()
    assert until(lambda: made.present(SHARD, COMMIT) == 1000)
    part.write_bytes(CONTENT)
    assert until(lambda: made.present(SHARD, COMMIT) == SHARD.size - 1)
    time.sleep(0.2)
    assert made.present(SHARD, COMMIT) == SHARD.size - 1
    assert made.whole(SHARD, COMMIT) is None
    given.keep(SHARD, part)
    assert until(lambda: made.whole(SHARD, COMMIT) is not None)


def test_what_was_there_already_is_not_sent_again(given: ModelCache, tmp_path: Path) -> None:
    give(given)
    made, one, _ = receiver(tmp_path / "taken")
    made.blobs.mkdir(parents=True)
    # The first bytes are other ones, so that sending them again would be seen.
    made.part(SHARD).write_bytes(b"x" + CONTENT[1:3000])
    asked: list[int] = []
    connect = Pair.connect
    one._source.__class__.connect = lambda self, file, start: (  # type: ignore[method-assign]
        asked.append(start) if file == SHARD else None,
        connect(self, file, start),
    )[1]
    try:
        one.start()
        assert until(lambda: one.done)
    finally:
        Pair.connect = connect  # type: ignore[method-assign]
    assert asked == [3000, 0], "gone on with, found wrong by its checksum, and fetched anew"
    assert made.whole(SHARD, COMMIT)


def test_wrong_bytes_are_never_kept(given: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.weights.receiving.TRIES", 1)
    give(given)
    (given.blobs / SHARD.checksum).write_bytes(b"x" * SHARD.size)
    made, one, failed = receiver(tmp_path / "taken")
    one.start()
    assert until(lambda: failed)
    assert "has not the checksum" in str(failed[0])
    assert not (made.blobs / SHARD.checksum).exists()


def test_who_does_not_know_the_key_gets_nothing(given: ModelCache) -> None:
    give(given)
    ours, theirs = socket.socketpair()
    threading.Thread(target=SENDERS["given"]._answer, args=(theirs,), daemon=True).start()
    handshake.ask(ours, "another key", SHARD.checksum, 0)
    assert ours.recv(1) == b""


def test_a_proof_is_good_for_one_connection_alone() -> None:
    assert handshake.signed("key", "a", "x 0") != handshake.signed("key", "b", "x 0")
    assert handshake.signed("key", "a", "x 0") != handshake.signed("key", "a", "x 1")
