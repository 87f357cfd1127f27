"""A child that leads a process group: seen to end, and ended with all below it, before its id can be another's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any


def over(leader: subprocess.Popen[Any]) -> bool:
    """Whether it has ended. It is not reaped here, so that its id stays its own until `end`."""
    if leader.returncode is not None:
        return True
    return os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(leader: subprocess.Popen[Any]) -> int:
    """Kill what is left of its group, and wait until the leader is gone; its exit code. Nothing the second time.

    With 32,768 ids, as many kernels have, a busy machine gives an id that was reaped to somebody else within minutes.
    """
    if leader.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)
    return leader.wait()
