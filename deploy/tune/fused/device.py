"""One GPU with the implementations: a process beside it, which is replaced when one of them kills it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.errors import TuneError
from deploy.kernels.exact.pool import ROOT
from deploy.tune.problem import Problem
from deploy.worker import Worker

MODULE = "deploy.tune.fused.gpu.worker"
START, CHECK, TIME = 300.0, 600.0, 120.0
"""Seconds for the process to load and fill its GPU; for a first call, which compiles; for a timing."""


class Device:
    """`folders` may be given once the GPU is known: what holds each implementation's package, by its name, where that
    is not the installed one."""

    def __init__(self, problem: Problem) -> None:
        self.folders: Mapping[str, Path] = {}
        self._told = json.dumps(problem.as_json())
        self._worker: Worker | None = None

    def facts(self) -> dict[str, Any]:
        """What measures, its memory and ceilings. Raises TuneError where there is no GPU that can."""
        found = self._asked({"facts": True}, START)
        if why := failure(found):
            raise TuneError(f"no layer can be run here: {why}", "it needs a CUDA GPU, PyTorch and Triton")
        return found

    def check(self, name: str, tokens: int) -> dict[str, Any]:
        """`error` and `table` of an implementation, or why there are none, see `failure`."""
        return self._asked({"check": name, "tokens": tokens, **self._place(name)}, CHECK)

    def time(self, name: str, tokens: int, replays: int) -> dict[str, Any]:
        """`seconds` a call, one figure a replay, or why there are none, see `failure`."""
        return self._asked({"time": name, "tokens": tokens, "replays": replays, **self._place(name)}, TIME)

    def _place(self, name: str) -> dict[str, str]:
        return {"folder": str(self.folders[name])} if name in self.folders else {}

    def _asked(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if self._worker is None:
            path = os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
            self._worker = Worker.start((sys.executable, "-m", MODULE, self._told), {**os.environ, "PYTHONPATH": path})
        found = self._worker.answer(request, timeout)
        if fatal(found):
            self.close()
        return found

    def close(self) -> None:
        """End the process, by its id."""
        if self._worker:
            self._worker.kill()
        self._worker = None


def failure(answer: Mapping[str, Any]) -> str:
    """Why an answer holds no figures; empty where it does."""
    if fatal(answer):
        return str(answer.get("fault") or answer["error"])
    return str(answer.get("failed") or "")


def fatal(answer: Mapping[str, Any]) -> bool:
    """Whether the process ended or had to. A process's end is a text where a check has a number."""
    return "fault" in answer or isinstance(answer.get("error"), str)
