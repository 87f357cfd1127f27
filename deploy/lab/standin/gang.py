"""The ranks as a group: they meet at the rendezvous over TCP, stay connected and tell of a loss; runs no model.

A line of text is a mark: ranks above 0 send theirs to rank 0, which answers when it has all of them. NCCL, gloo and
their full mesh are imitated by this star.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

Lost = Callable[[str], None]
RETRY = 0.1


class JoinError(RuntimeError):
    """The ranks did not meet in time, or the address could not be used; words as torch has them."""


class Peer:
    """One connection to another rank, read by a thread of its own."""

    def __init__(self, rank: int, connection: socket.socket) -> None:
        self.rank, self.connection = rank, connection
        self.address = "{}:{}".format(*connection.getpeername()[:2])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, mark: str) -> None:
        """Send a mark; a broken connection is left to the reading thread, which says what broke."""
        with suppress(OSError):
            self.connection.sendall(f"{mark}\n".encode())

    def read(self, heard: Callable[[int, str], None], lost: Lost) -> None:
        """Pass on every mark until the connection ends, then say how it ended."""
        try:
            with self.connection.makefile("r", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    heard(self.rank, line.strip())
            lost(f"Connection closed by peer [{self.address}]")
        except OSError as error:
            lost(f"Read error [{self.address}]: {error.strerror or error}")


class Gang:
    """This rank's place among `size` ranks; `lost` is called once, in a thread of its own, when a connection ends."""

    def __init__(self, rank: int, size: int, lost: Lost) -> None:
        self.rank, self.size = rank, size
        self._lost = lost
        self._peers: list[Peer] = []
        self._marks: dict[str, set[int]] = {}
        self._changed = threading.Condition()
        self._steps = 0
        self.silent = False

    def join(self, address: tuple[str, int], timeout: float) -> None:
        """Meet the others at `address` (host, port) within `timeout` seconds, or raise JoinError."""
        if self.size == 1:
            return
        end = time.monotonic() + timeout
        peers = self._gather(address, end, timeout) if self.rank == 0 else [self._connect(address, end, timeout)]
        for peer in peers:
            self._peers.append(peer)
            threading.Thread(target=peer.read, args=(self._heard, self._lost), daemon=True).start()
        if not self.wait("joined", end - time.monotonic()):
            raise JoinError(f"Timed out after {timeout:.0f} seconds waiting for the other ranks.")

    def wait(self, mark: str, timeout: float | None = None) -> bool:
        """Reach a mark and wait until every rank has; False where that did not happen within `timeout` seconds."""
        if self.rank:
            self._tell(mark)
            return self._until(lambda: 0 in self._marks.get(mark, ()), timeout)
        complete = self._until(lambda: len(self._marks.get(mark, ())) == self.size - 1, timeout)
        if complete:
            self._tell(mark)
        return complete

    def step(self) -> None:
        """One step of all ranks together; waits for as long as one of them does not answer."""
        self._steps += 1
        mark = f"step {self._steps}"
        self._tell(mark)
        self._until(lambda: len(self._marks.get(mark, ())) == self.size - 1 and not self.silent, None)
        with self._changed:
            self._marks.pop(mark, None)

    def close(self) -> None:
        """End all connections, as they end with the process that holds them."""
        for peer in self._peers:
            with suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)

    def _gather(self, address: tuple[str, int], end: float, timeout: float) -> list[Peer]:
        """Rank 0: accept the others, whoever else may knock."""
        joined: dict[int, Peer] = {}
        # Kept open, as torch's store keeps its port for as long as it lives.
        self._server = listening(address)
        while len(joined) < self.size - 1:
            self._server.settimeout(max(end - time.monotonic(), 0.001))
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                count = f"{len(joined) + 1}/{self.size} clients joined."
                raise JoinError(f"Timed out after {timeout:.0f} seconds waiting for clients. {count}") from None
            rank = self._welcome(connection)
            if rank is not None and rank not in joined:
                joined[rank] = Peer(rank, connection)
        return list(joined.values())

    def _welcome(self, connection: socket.socket) -> int | None:
        """The rank that says hello on a connection; None for whoever is no rank of this gang."""
        connection.settimeout(2)
        try:
            words = first_line(connection).split()
            if words[:1] == ["hello"] and words[2:] == [str(self.size)] and 0 < int(words[1]) < self.size:
                connection.settimeout(None)
                return int(words[1])
        except (OSError, ValueError):
            pass
        connection.close()
        return None

    def _connect(self, address: tuple[str, int], end: float, timeout: float) -> Peer:
        """Ranks above 0: keep trying until rank 0 is there."""
        while time.monotonic() < end:
            try:
                connection = socket.create_connection(address, timeout=max(end - time.monotonic(), 0.001))
                connection.sendall(f"hello {self.rank} {self.size}\n".encode())
                connection.settimeout(None)
                return Peer(0, connection)
            except OSError:
                time.sleep(RETRY)
        raise JoinError(
            f"The client socket has timed out after {timeout * 1000:.0f}ms while trying to connect to "
            f"({address[0]}, {address[1]})."
        )

    def _heard(self, rank: int, mark: str) -> None:
        if self.rank and mark.startswith("step "):
            if not self.silent:
                self._tell(mark)
            return
        with self._changed:
            self._marks.setdefault(mark, set()).add(rank)
            self._changed.notify_all()

    def _tell(self, mark: str) -> None:
        for peer in self._peers:
            peer.send(mark)

    def _until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout)


def first_line(connection: socket.socket) -> str:
    """The first line of a connection, and not a byte of what follows it."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 64 and (byte := connection.recv(1)):
        line += byte
    return line.decode(errors="replace")


def listening(address: tuple[str, int]) -> socket.socket:
    """A listening socket on an address of this host; JoinError where it cannot be had."""
    try:
        return socket.create_server(address, backlog=64)
    except OSError as error:
        raise JoinError(
            f"The server socket has failed to listen on any local network address. "
            f"port: {address[1]}, useIpv6: false, code: {-(error.errno or 1)}, name: {error.strerror}"
        ) from error
