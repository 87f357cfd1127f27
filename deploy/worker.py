"""A child process that answers each line of JSON with one: asked, waited for, and ended by its id."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from deploy import group

Answer = dict[str, Any]


@dataclass
class Worker:
    """One process and the request that it is at; `job` is None while it is idle."""

    process: subprocess.Popen[bytes]
    said: BinaryIO
    """What it wrote for people, kept for the case that it ends."""
    job: int | None = None
    deadline: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(cls, argv: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Worker:
        """What it says for people goes to a file in `folder`."""
        said = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (the worker's, until it is killed)
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C is for us, who then end it by its id
        )
        return cls(process, said)

    @property
    def answers(self) -> Any:
        """The pipe to wait on."""
        return self.process.stdout

    def ask(self, job: int, request: Mapping[str, Any], timeout: float) -> None:
        """Hand over one request; a worker that has ended shows itself when it is read."""
        self.job, self.deadline = job, time.monotonic() + timeout
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> Answer | None:
        """The answer once it is whole; the error that ended the process once it has, with the word `ended`."""
        assert self.process.stdout
        part = os.read(self.process.stdout.fileno(), 65536)
        self.received += part
        if not part:
            return {"error": f"the process ended with {self._ended()}: {self._last_words()}", "ended": True}
        if not self.received.endswith(b"\n"):
            return None
        line, self.received = bytes(self.received), bytearray()
        return dict(json.loads(line))

    def _ended(self) -> int:
        """It has closed its output and so ends by itself; what it had started goes with it."""
        while not group.over(self.process):
            time.sleep(0.01)
        return group.end(self.process)

    def _last_words(self) -> str:
        self.said.seek(0)
        return b" | ".join(self.said.read().strip().splitlines()[-3:]).decode(errors="replace")

    def kill(self) -> None:
        """By its id, with the ptxas that it may have started, and wait until it is gone."""
        group.end(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def answer(self, request: Mapping[str, Any], timeout: float) -> Answer:
        """Ask, and wait for the answer. A process that says nothing for `timeout` seconds is killed; that is an error
        in the answer, with the word `hangs`, as its end is."""
        self.ask(0, request, timeout)
        while (left := self.deadline - time.monotonic()) > 0:
            if select.select([self.answers], [], [], left)[0] and (found := self.read()) is not None:
                self.job = None
                return found
        self.kill()
        return {"error": f"no answer in {timeout:g} s", "hangs": True}
