"""The home of systemctl: runs it and says how it ended. Knows no unit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from deploy.errors import ServiceError


def is_system() -> bool:
    """Root gets a unit of the system, everybody else one of their own manager."""
    return os.geteuid() == 0


def runs() -> bool:
    return Path("/run/systemd/system").is_dir()


def systemctl(*words: str) -> str:
    """What it printed. Raises ServiceError where it failed."""
    code, out, err = ask(*words)
    if code != 0:
        hint = "see `systemctl status` and `journalctl -xe`; without systemd, keep `watch run` alive by other means"
        raise ServiceError(f"systemctl {' '.join(words)} failed: {(err or out).strip()}", hint)
    return out


def ask(*words: str) -> tuple[int, str, str]:
    """Exit code and streams of systemctl for this user's kind of units. Raises ServiceError where there is none."""
    argv = ("systemctl", *(() if is_system() else ("--user",)), *words)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        hint = "install systemd, or keep `watch run` alive by other means"
        raise ServiceError("no systemctl on this machine", hint) from None
    except subprocess.TimeoutExpired:
        raise ServiceError(f"systemctl {' '.join(words)} gave no answer in 120 s", "see `journalctl -xe`") from None
    return done.returncode, done.stdout, done.stderr
