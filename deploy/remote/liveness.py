"""Whether the node at the other end of an SSH connection still answers; ends the connection when it does not."""

from __future__ import annotations

import threading
from typing import Any

ASK_EVERY = 2.0
"""Seconds between two questions to a node."""
SILENCE = 8
"""Seconds without a word from a node after which its connection is given up."""
BROKE = "the connection broke"
_CLOSED = "EOF in transport thread"
_LAST_WORDS = (_CLOSED, "Disconnect", "Exception", "Socket exception", "Unknown exception", "Channel request")


class Liveness:
    """Asks a node for an answer, and listens for anything that it says.

    Whatever comes counts, since behind a log on a slow link an answer comes late. Silence is counted in ticks of this
    side's own, so that a machine which was itself frozen or asleep does not take its own sleep for the node's silence.
    """

    def __init__(self, transport: Any, name: str) -> None:
        self.silent, self.ending = False, ""
        """The node did not answer; why the connection ended, as far as this side knows."""
        self.asking = threading.Lock()
        """Whoever asks the node something of the connection's own holds it: paramiko tells two answers not apart."""
        self._transport, self._heard, self._over = transport, 0, threading.Event()
        transport.logger = self
        self._listen(transport.packetizer)
        # Two threads, since a question may block for good on a connection that takes no more bytes.
        works = {"asks": self._ask, "judges": self._judge}
        self._threads = [threading.Thread(target=do, name=f"{name} {what}", daemon=True) for what, do in works.items()]
        for thread in self._threads:
            thread.start()

    def _listen(self, packetizer: Any) -> None:
        read = packetizer.read_message

        def counted() -> Any:
            message = read()
            self._heard += 1
            return message

        packetizer.read_message = counted

    def log(self, level: int, text: str, *more: object) -> None:  # noqa: ARG002
        """paramiko's own log of the connection, the words with which sshd ends one among it."""
        if text.startswith(_LAST_WORDS) and not self.ending:
            self.ending = f"{BROKE}: {'the other side closed it' if text == _CLOSED else text}"

    def _ask(self) -> None:
        try:
            while not self._over.wait(ASK_EVERY) and self._transport.active:
                with self.asking:
                    self._transport.global_request("keepalive@openssh.com", wait=True)
        except Exception:  # whatever paramiko raises here, the connection is over, and its commands say so
            return

    def _judge(self) -> None:
        heard, missed = -1, 0
        while not self._over.wait(1.0) and self._transport.active:
            heard, missed = self._heard, 0 if self._heard != heard else missed + 1
            if missed >= SILENCE:
                self.silent, self.ending = True, f"the node has not answered for {SILENCE} s"
                self._transport.close()

    def close(self) -> None:
        """End the watching. The connection must be closed already, or a question may still wait for its answer."""
        self._over.set()
        for thread in (*self._threads, self._transport):
            if thread is not threading.current_thread():
                thread.join(5)
