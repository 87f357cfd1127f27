"""Unit tests open no socket and start no process: whatever tries, fails."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest


@pytest.fixture(autouse=True)
def _no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a unit test reached for a socket or a process")

    for place, name in (
        (socket.socket, "connect"),
        (socket.socket, "bind"),
        (socket, "create_connection"),
        (socket, "getaddrinfo"),
        (subprocess.Popen, "__init__"),
        (os, "system"),
        (os, "fork"),
        (os, "posix_spawn"),
        (os, "execv"),
    ):
        monkeypatch.setattr(place, name, refuse)
