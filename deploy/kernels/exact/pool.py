"""Worker processes that compile, and what becomes of them: answers, crashes, timeouts. Knows no Triton."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from deploy.kernels.exact.toolchain import Toolchain

Answer = dict[str, Any]
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Setting:
    """What every worker is told: SGLang's module, GPU and tools; `timeout` is in seconds a kernel."""

    source: Path
    arch: int
    limit: int
    toolchain: Toolchain
    timeout: float = 120.0
    command: tuple[str, ...] = (sys.executable, "-m", "deploy.kernels.exact.worker")


@dataclass
class Worker:
    """One process and the request that it is at; `job` is None while it is idle."""

    process: subprocess.Popen[bytes]
    said: BinaryIO
    """What it wrote for people, kept for the case that it ends."""
    job: int | None = None
    deadline: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def ask(self, job: int, request: Mapping[str, Any], timeout: float) -> None:
        """Hand over one request; a worker that has ended shows itself when it is read."""
        self.job, self.deadline = job, time.monotonic() + timeout
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> Answer | None:
        """The answer once it is whole; the error that ended the process once it has."""
        assert self.process.stdout
        part = os.read(self.process.stdout.fileno(), 65536)
        self.received += part
        if not part:
            return {"error": f"the compiler's process ended with {self.process.wait()}: {self._last_words()}"}
        if not self.received.endswith(b"\n"):
            return None
        line, self.received = bytes(self.received), bytearray()
        return dict(json.loads(line))

    def _last_words(self) -> str:
        self.said.seek(0)
        return b" | ".join(self.said.read().strip().splitlines()[-3:]).decode(errors="replace")

    def kill(self) -> None:
        """By its id, with the ptxas that it may have started, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def answers(
    requests: Sequence[Mapping[str, Any]], setting: Setting, workers: int
) -> Generator[tuple[int, Answer], None, None]:
    """Each request's index and answer, as they come. However it ends, no worker is left."""
    with tempfile.TemporaryDirectory(prefix="sglang-spark-kernels-") as folder:
        crew = _Crew(setting, Path(folder))
        try:
            yield from crew.work(requests, min(workers, len(requests)))
        finally:
            crew.dismiss()


class _Crew:
    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.folder = folder
        self.ready = selectors.DefaultSelector()
        self.workers: list[Worker] = []

    def work(self, requests: Sequence[Mapping[str, Any]], workers: int) -> Generator[tuple[int, Answer], None, None]:
        waiting = list(reversed(range(len(requests))))
        for _ in range(workers):
            self._hire()
        while waiting or any(worker.job is not None for worker in self.workers):
            idle = [worker for worker in self.workers if worker.job is None]
            for worker in idle[: len(waiting)]:
                job = waiting.pop()
                worker.ask(job, requests[job], self.setting.timeout)
            yield from self._answered(bool(waiting))

    def _answered(self, more: bool) -> Generator[tuple[int, Answer], None, None]:
        """Wait for the next answers or deadlines; who crashed or hangs is replaced where there is more to do."""
        busy = [worker for worker in self.workers if worker.job is not None]
        until = min(worker.deadline for worker in busy)
        spoke = [key.data for key, _ in self.ready.select(max(0.0, until - time.monotonic()))]
        for worker in busy:
            answer = worker.read() if worker in spoke else self._overdue(worker)
            if answer is None or worker.job is None:
                continue
            job, worker.job = worker.job, None
            if worker.process.poll() is not None or "hangs" in answer:
                self._replace(worker, more)
            yield job, {key: value for key, value in answer.items() if key != "hangs"}

    def _overdue(self, worker: Worker) -> Answer | None:
        if time.monotonic() < worker.deadline:
            return None
        return {"error": f"not compiled within {self.setting.timeout:g} seconds", "hangs": True}

    def _replace(self, worker: Worker, more: bool) -> None:
        self._leave(worker)
        if more:
            self._hire()

    def _hire(self) -> None:
        said = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 (the worker's, until it is killed)
        setting = self.setting
        process = subprocess.Popen(
            [*setting.command, str(setting.source), str(setting.arch), str(setting.limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C is for us, who then end it by its id
        )
        worker = Worker(process, said)
        self.workers.append(worker)
        assert process.stdout
        self.ready.register(process.stdout, selectors.EVENT_READ, worker)

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's that Triton or SGLang would read, so that the same request has the same answer."""
        tools = self.setting.toolchain
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(str(path) for path in (tools.path, ROOT) if path),
            "TMPDIR": str(self.folder),
            "HOME": str(self.folder),
            "TRITON_CACHE_DIR": str(self.folder / "triton"),
            "TRITON_ALWAYS_COMPILE": "1",
            "TRITON_STORE_BINARY_ONLY": "1",
            "TRITON_PTXAS_PATH": str(tools.ptxas),
            "TRITON_PTXAS_BLACKWELL_PATH": str(tools.ptxas),
        }

    def _leave(self, worker: Worker) -> None:
        assert worker.process.stdout
        self.ready.unregister(worker.process.stdout)
        self.workers.remove(worker)
        worker.kill()

    def dismiss(self) -> None:
        """End every worker by its id."""
        for worker in list(self.workers):
            self._leave(worker)
        self.ready.close()
