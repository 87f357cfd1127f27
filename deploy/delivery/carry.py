"""Runs on nodes: hands what a command prints to other nodes over the fabric, or takes it in for a command there.

Python 3.10 and its standard library alone, sent as one text. Its input is a token, and then its lifeline. A stream
that ends without its end mark is never taken for a whole one.

    carry.py send ADDRESS PORT RECEIVERS COMMAND...
    carry.py receive ADDRESS PORT 1 COMMAND...
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time

PIECE = 1 << 20
SILENCE = 300.0
MEETING = 60.0
NONCE = 32


def main(role: str, address: str, port: str, receivers: str, *command: str) -> int:
    """The exit code: 0 where all of it came through."""
    token = _line()
    place = (address, int(port))
    if role == "send":
        return send(_met(place, int(receivers), token), command)
    return receive(_reached(place, token), command)


def send(peers: list[socket.socket], command: tuple[str, ...]) -> int:
    """Hand all that the command prints to every peer; one that is lost does not keep the others."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    meter = Meter("sent")
    assert child.stdout is not None
    while piece := child.stdout.read(PIECE):
        peers = [peer for peer in peers if _sent(peer, piece)]
        if not peers:
            child.kill()
            break
        meter.add(len(piece))
    code = child.wait()
    # The empty piece is the end mark: nobody gets it where the command failed.
    reached = [peer for peer in peers if code == 0 and _sent(peer, b"")]
    meter.tell()
    return 0 if reached else code or 1


def receive(peer: socket.socket, command: tuple[str, ...]) -> int:
    """Take the stream into the command's input."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    meter = Meter("taken")
    try:
        while piece := _piece(peer):
            assert child.stdin is not None
            child.stdin.write(piece)
            meter.add(len(piece))
        meter.tell()
        child.stdin and child.stdin.close()
    except BrokenPipeError:
        return child.wait() or 1  # it said itself what is wrong
    except OSError as error:
        child.kill()
        child.wait()
        print(f"the stream broke off after {meter.count} bytes: {error}", file=sys.stderr)
        return 1
    return child.wait()


class Meter:
    """Says a count of bytes once a second."""

    def __init__(self, word: str) -> None:
        self.count, self._word, self._next = 0, word, 0.0

    def add(self, size: int) -> None:
        self.count += size
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            self.tell()

    def tell(self) -> None:
        print(self._word, self.count, flush=True)


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    """When the other end of this program's input goes away, so does all of it."""
    while os.read(0, PIECE):
        pass
    child.kill()
    os._exit(1)


def _line() -> bytes:
    """The first line of the input; a buffered reader's lock would be in the way when this program ends."""
    taken = bytearray()
    while not taken.endswith(b"\n") and (one := os.read(0, 1)):
        taken += one
    return bytes(taken.strip())


def _met(place: tuple[str, int], count: int, token: bytes) -> list[socket.socket]:
    """As many peers as there should be that know the token."""
    met: list[socket.socket] = []
    until = time.monotonic() + MEETING
    with socket.create_server(place) as server:
        while len(met) < count:
            server.settimeout(max(until - time.monotonic(), 0.01))
            try:
                peer, _ = server.accept()
            except TimeoutError:
                sys.exit(f"{len(met)} of {count} nodes came to {place[0]} port {place[1]} within {MEETING:.0f} s")
            peer.settimeout(SILENCE)
            if _welcome(peer, token):
                met.append(peer)
            else:
                peer.close()
    return met


def _welcome(peer: socket.socket, token: bytes) -> bool:
    """Whether the peer knows the token; then it is told that this side knows it too."""
    ours = secrets.token_bytes(NONCE)
    try:
        peer.settimeout(5)
        peer.sendall(ours)
        theirs, proof = _exactly(peer, NONCE), _exactly(peer, NONCE)
        if not hmac.compare_digest(proof, _proof(token, b"receive", ours)):
            return False
        peer.sendall(_proof(token, b"send", theirs))
        peer.settimeout(SILENCE)
    except OSError:
        return False
    return True


def _reached(place: tuple[str, int], token: bytes) -> socket.socket:
    """A stream from the sender, which may not listen yet."""
    until = time.monotonic() + MEETING
    while True:
        try:
            peer = socket.create_connection(place, timeout=5)
            break
        except OSError as error:
            if time.monotonic() > until:
                sys.exit(f"no way to {place[0]} port {place[1]} over the fabric: {error}")
            time.sleep(0.2)
    ours, theirs = secrets.token_bytes(NONCE), _exactly(peer, NONCE)
    peer.sendall(ours + _proof(token, b"receive", theirs))
    if not hmac.compare_digest(_exactly(peer, NONCE), _proof(token, b"send", ours)):
        sys.exit(f"whoever answers at {place[0]} port {place[1]} is not the node that was to send")
    peer.settimeout(SILENCE)
    return peer


def _proof(token: bytes, role: bytes, nonce: bytes) -> bytes:
    return hmac.digest(token, role + nonce, "sha256")


def _sent(peer: socket.socket, piece: bytes) -> bool:
    try:
        peer.sendall(struct.pack(">I", len(piece)) + piece)
    except OSError as error:
        print(f"a receiver is lost: {error}", file=sys.stderr)
        return False
    return True


def _piece(peer: socket.socket) -> bytes:
    return _exactly(peer, struct.unpack(">I", _exactly(peer, 4))[0])


def _exactly(peer: socket.socket, size: int) -> bytes:
    taken = bytearray()
    while len(taken) < size:
        piece = peer.recv(size - len(taken))
        if not piece:
            raise ConnectionResetError("the other side ended")
        taken += piece
    return bytes(taken)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
