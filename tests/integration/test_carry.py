"""A stream from node to node: both programs as they run there, on this machine's loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.delivery import carry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PROGRAM = (sys.executable, "-c", Path(carry.__file__).read_text())
CONTENT = bytes(range(256)) * 20_000


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def started(*words: str, token: bytes = b"secret") -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen((*PROGRAM, *words), **pipes)  # type: ignore[call-overload]
    process.stdin.write(token + b"\n")
    process.stdin.flush()
    return process  # type: ignore[no-any-return]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(CONTENT)
    return tmp_path / "source"


def test_every_receiver_gets_all_of_it(source: Path, tmp_path: Path) -> None:
    port = free_port()
    takers = [
        started("receive", "127.0.0.1", port, "1", "sh", "-c", f"cat > {tmp_path}/{number}") for number in range(2)
    ]
    sender = started("send", "127.0.0.1", port, "2", "cat", str(source))
    assert [one.wait(30) for one in (sender, *takers)] == [0, 0, 0]
    assert [(tmp_path / name).read_bytes() for name in "01"] == [CONTENT] * 2
    assert f"sent {len(CONTENT)}" in sender.stdout.read().decode()  # type: ignore[union-attr]
    assert f"taken {len(CONTENT)}" in takers[0].stdout.read().decode()  # type: ignore[union-attr]


def test_whoever_does_not_know_the_token_gets_nothing_and_keeps_nobody_waiting(source: Path, tmp_path: Path) -> None:
    port = free_port()
    sender = started("send", "127.0.0.1", port, "1", "cat", str(source))
    stranger = started("receive", "127.0.0.1", port, "1", "tee", str(tmp_path / "stolen"), token=b"guessed")
    assert stranger.wait(30) == 1
    assert not (tmp_path / "stolen").exists()
    taker = started("receive", "127.0.0.1", port, "1", "sh", "-c", f"cat > {tmp_path}/taken")
    assert (sender.wait(30), taker.wait(30)) == (0, 0)
    assert (tmp_path / "taken").read_bytes() == CONTENT


def test_a_stream_that_breaks_off_ends_its_command_without_an_end_of_input(tmp_path: Path) -> None:
    port, mark = free_port(), tmp_path / "whole"
    sender = started("send", "127.0.0.1", port, "1", "sh", "-c", "head -c 1000 /dev/zero; sleep 30")
    taker = started("receive", "127.0.0.1", port, "1", "sh", "-c", f"cat > /dev/null; touch {mark}")
    assert b"taken 1000" in taker.stdout.readline()  # type: ignore[union-attr]
    sender.kill()
    assert taker.wait(30) == 1
    assert b"broke off after 1000 bytes" in taker.stderr.read()  # type: ignore[union-attr]
    assert not mark.exists()


def test_a_command_that_fails_half_way_is_no_end(tmp_path: Path) -> None:
    port, mark = free_port(), tmp_path / "whole"
    sender = started("send", "127.0.0.1", port, "1", "sh", "-c", "head -c 1000 /dev/zero; exit 3")
    taker = started("receive", "127.0.0.1", port, "1", "sh", "-c", f"cat > /dev/null; touch {mark}")
    assert (sender.wait(30), taker.wait(30)) == (3, 1)
    assert not mark.exists()


def test_both_end_when_their_connection_does(source: Path) -> None:
    port = free_port()
    sender = started("send", "127.0.0.1", port, "1", "sleep", "30")
    taker = started("receive", "127.0.0.1", port, "1", "cat")
    assert taker.stdin is not None
    assert sender.stdin is not None
    # The sender says nothing before its command does; a moment for the two to meet.
    with pytest.raises(subprocess.TimeoutExpired):
        taker.wait(1)
    taker.stdin.close()
    assert taker.wait(10) == 1
    sender.stdin.close()
    assert sender.wait(10) == 1
