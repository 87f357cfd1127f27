"""How one node asks another for the rest of a file: a challenge, a signed request, then bytes. Python 3.10 alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.errors import WeightsError

LONGEST = 400
PATIENCE = 15.0
"""Seconds for connecting and for the words before the bytes."""


def signed(key: str, challenge: str, request: str) -> str:
    """What proves that who asks knows the run's key, which itself never travels between nodes."""
    return hmac.new(key.encode(), f"{challenge} {request}".encode(), hashlib.sha256).hexdigest()


def ask(connection: socket.socket, key: str, checksum: str, start: int) -> None:
    """Ask for a blob from an offset on. Raises OSError."""
    connection.settimeout(PATIENCE)
    challenge, request = line(connection), f"{checksum} {start}"
    connection.sendall(f"{request} {signed(key, challenge, request)}\n".encode())
    wait_for_bytes(connection)


def asked(connection: socket.socket, key: str) -> tuple[str, int]:
    """The blob and the offset that are asked for. Raises PermissionError where the key is another, OSError."""
    connection.settimeout(PATIENCE)
    challenge = secrets.token_hex(16)
    connection.sendall(f"{challenge}\n".encode())
    request, _, proof = line(connection).rpartition(" ")
    if not hmac.compare_digest(proof, signed(key, challenge, request)):
        raise PermissionError("it does not know the key of this run")
    checksum, start = request.split(" ")
    wait_for_bytes(connection)
    return checksum, int(start)


def line(connection: socket.socket) -> str:
    """One line, read byte by byte, since what follows it is another's. Raises ConnectionError."""
    found = bytearray()
    while not found.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece or len(found) > LONGEST:
            raise ConnectionError("the other node ended the connection")
        found += piece
    return found[:-1].decode("ascii", "replace")


def wait_for_bytes(connection: socket.socket) -> None:
    """No limit on a wait for bytes, which may be the hub's; but a node that is gone is noticed within 15 s."""
    connection.settimeout(None)
    for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 15000)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


@contextmanager
def listening(address: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on one address alone. Raises WeightsError."""
    try:
        server = socket.create_server((address, port), backlog=64)
    except OSError as error:
        hint = "nodes[].fabric must be the node's own address, and the port free there: `ss -ltnp`"
        raise WeightsError(f"cannot listen on {address}, TCP port {port}: {error.strerror}", hint) from None
    with server:
        yield server
