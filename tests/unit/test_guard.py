"""The guard of the unit tests itself."""

import socket
import subprocess

import pytest


def test_a_unit_test_cannot_open_a_connection() -> None:
    with pytest.raises(AssertionError, match="reached for a socket"), socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def test_a_unit_test_cannot_start_a_process() -> None:
    with pytest.raises(AssertionError, match="reached for a socket or a process"):
        subprocess.run(["true"], check=False)
