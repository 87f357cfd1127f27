"""Lines as SGLang, uvicorn and NCCL write them, on stdout and stderr; decides nothing about when they come."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping


class Log:
    """One rank's log; `tp_rank` is None where there is only one rank and SGLang leaves the prefix out."""

    def __init__(self, tp_rank: int | None) -> None:
        self.prefix = "" if tp_rank is None else f" TP{tp_rank}"
        self._lock = threading.Lock()

    def scheduler(self, text: str) -> None:
        """A line of the process that drives the GPU, with its prefix."""
        self._write(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}{self.prefix}] {text}")

    def main(self, text: str) -> None:
        """A line of the first process: HTTP, signals, readiness."""
        self._write(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] {text}")

    def plain(self, text: str) -> None:
        """A line without time, as progress bars write it."""
        self._write(text)

    def nccl(self, text: str) -> None:
        """A line of NCCL's own."""
        self._write(f"{socket.gethostname()}:{os.getpid()}:{os.getpid()} [0] NCCL INFO {text}")

    def request(self, name: str, meta: Mapping[str, object]) -> None:
        """A finished request, in JSON as newer versions of SGLang log it."""
        told = {"event": "request.finished", "rid": name, "out": {"meta_info": {"id": name, **meta}}}
        self.main(json.dumps(told))

    def _write(self, text: str) -> None:
        with self._lock:
            print(text, file=sys.stderr, flush=True)
