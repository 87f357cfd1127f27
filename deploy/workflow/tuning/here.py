"""This machine's own GPU as a place that measures: one process beside it, others that compile."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy import store
from deploy.errors import TuneError
from deploy.event import Event, Note
from deploy.kernels.exact.source import MODULE, installed, of_wheel
from deploy.kernels.gpu import arch
from deploy.tune.device import STAND_IN_TIMER, Device
from deploy.tune.happening import Happening
from deploy.tune.local import measured
from deploy.tune.problem import Problem
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial


class Here:
    """`sglang` is the version whose kernel is timed: the one that is installed, else the wheel's."""

    def __init__(self, problem: Problem, sglang: str) -> None:
        self._problem, self._sglang = problem, sglang
        self._device: Device | None = None

    def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
        """Find GPU, PyTorch and SGLang's kernel. Raises TuneError, and BuildError where PyPI has no such version."""
        if not os.environ.get(STAND_IN_TIMER) and importlib.util.find_spec("torch") is None:
            message = "no kernel can be timed here: PyTorch is not installed in this environment"
            raise TuneError(message, "run it where SGLang runs, or on the cluster's nodes: --nodes cluster.yaml")
        if self._problem.recorded and not Path(self._problem.recorded).is_dir():
            hint = "name the folder of recorded expert ids on this machine"
            raise TuneError(f"--topk-ids-dir {self._problem.recorded}: is no folder here", hint)
        found = source(self._sglang)
        yield Note(f"times SGLang {self._sglang}'s kernel, from {found}")
        self._device = Device(self._problem, found, arch(self._problem.gpu.capability), len(os.sched_getaffinity(0)))
        facts = self._device.facts()
        yield Note(
            f"on {facts['device']}: {facts['bandwidth'] / 1e9:.0f} GB/s, {facts['operations'] / 1e12:.0f} TFLOPS"
        )
        return facts

    def measured(self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:
        """One size after the other."""
        assert self._device, "it was not asked whether it is ready"
        yield from measured(task, sizes, self._device, known)

    def close(self) -> None:
        """End the processes."""
        if self._device:
            self._device.close()


def source(sglang: str) -> Path:
    """SGLang's module of kernel and launcher: the installed one where that is this version, else from PyPI, kept."""
    if _version() == sglang and (found := installed()):
        return found
    folder = store.cache() / "sources" / f"sglang-{sglang}"
    store.keep(folder, lambda new: (new / MODULE).write_bytes(of_wheel(sglang)))
    return folder / MODULE


def _version() -> str:
    try:
        return importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:
        return ""
