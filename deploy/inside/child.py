"""Runs one part of the self-test in a process of its own: a crash or a slow import there is its failure alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 900
"""Seconds; torch takes minutes to import where the processor is emulated."""


class ChildError(Exception):
    """The process did not answer; says its last words."""


class Child:
    """`python3 -m MODULE ARGUMENT...`, begun now; its answer is JSON on standard output."""

    def __init__(self, module: str, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-B", "-m", module, *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=home, stdout=pipe, stderr=pipe, text=True, errors="replace")

    def answer(self) -> Any:
        """Wait for it. Raises ChildError."""
        try:
            out, err = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise ChildError(f"no answer within {PATIENCE} s") from None
        try:
            return json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            last = (err.strip() or out.strip() or "no output").splitlines()[-1]
            raise ChildError(f"exit code {self._process.returncode}: {last}") from None
