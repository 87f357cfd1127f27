"""Process groups on real processes: an end is seen without giving the id away, and what is below goes too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy import group

CODE = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"


def test_what_an_ended_leader_left_is_ended_and_its_id_was_kept_until_then() -> None:
    leader = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert leader.stdout
    below = int(leader.stdout.readline())
    until = time.monotonic() + 20
    while not group.over(leader) and time.monotonic() < until:
        time.sleep(0.01)
    assert leader.returncode is None, "not reaped: its id is nobody else's"
    os.kill(leader.pid, 0)
    assert group.end(leader) == 0
    until = time.monotonic() + 20
    while _lives(below) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(below)
    assert (group.over(leader), group.end(leader)) == (True, 0)
    leader.stdout.close()


def _lives(process: int) -> bool:
    """Gone, or dead and not yet reaped by its new parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
