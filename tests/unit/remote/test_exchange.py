"""One command on a channel that does not behave; the channel is a stand-in for paramiko's."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.command import Command
from deploy.remote.exchange import Ends, Exchange, fed


class Channel:
    """A stand-in for a paramiko channel whose connection ends at a chosen moment."""

    def __init__(self, *, dies: str) -> None:
        self.dies, self.closed, self.eof_received = dies, False, False
        self.transport = SimpleNamespace(active=True)
        self.event = threading.Event()

    def get_transport(self) -> Any:
        return self.transport

    def settimeout(self, seconds: float) -> None: ...

    def exec_command(self, line: str) -> None:
        if self.dies == "after the start":
            self.transport.active, self.closed = False, True
        if self.dies == "before the answer":
            # As paramiko does: it clears the event after the end of the connection has set it, and then waits.
            self.transport.active = False
            self.event.clear()
            self.event.wait()

    def recv_ready(self) -> bool:
        return False

    recv_stderr_ready = recv_ready

    def exit_status_ready(self) -> bool:
        return self.closed

    def recv_exit_status(self) -> int:
        return -1


def exchange(dies: str, **more: Any) -> Exchange:
    return Exchange(Command(("true",), **more), Channel(dies=dies), Ends(), threading.Event())


@pytest.mark.timeout(5)
def test_a_connection_that_ends_before_the_answer_to_a_request_is_not_waited_for() -> None:
    with pytest.raises(EOFError, match="the connection broke"):
        exchange("before the answer", timeout=float("inf")).result()


@pytest.mark.timeout(5)
def test_a_connection_that_ends_while_a_command_runs_ends_it() -> None:
    result = exchange("after the start", timeout=float("inf")).result()
    assert (result.code, result.stderr) == (None, "the connection broke")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Command(("echo", "a b")), "echo 'a b' < /dev/null"),
        (Command(("cat",), stdin="é"), "head -c 2 | cat"),
        (Command(("cat",), held=True), "cat"),
    ],
)
def test_the_input_of_a_command_ends_on_the_node_and_not_by_a_word_from_here(command: Command, line: str) -> None:
    # The stand-in has no way to shut a channel's writing end.
    assert fed(command, len(command.stdin.encode())) == line
