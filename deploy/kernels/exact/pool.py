"""Worker processes that compile, and what becomes of them: answers, crashes, timeouts. Knows no Triton."""

from __future__ import annotations

import os
import selectors
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.kernels.exact.toolchain import Toolchain
from deploy.worker import Answer, Worker

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
    environment: Mapping[str, str] | None = None
    """In place of one with nothing of the user's in it."""


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
        setting = self.setting
        argv = [*setting.command, str(setting.source), str(setting.arch), str(setting.limit)]
        worker = Worker.start(argv, setting.environment or self._environment(), self.folder)
        self.workers.append(worker)
        self.ready.register(worker.answers, selectors.EVENT_READ, worker)

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
        self.ready.unregister(worker.answers)
        self.workers.remove(worker)
        worker.kill()

    def dismiss(self) -> None:
        """End every worker by its id."""
        for worker in list(self.workers):
            self._leave(worker)
        self.ready.close()
