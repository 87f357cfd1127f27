"""One GPU: a process that times on it and is replaced when a kernel kills it, and others that compile for it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.errors import TuneError
from deploy.kernels.exact.kernel import Kernel, specialisation
from deploy.kernels.exact.pool import ROOT, Setting, answers
from deploy.kernels.exact.toolchain import Toolchain
from deploy.kernels.gpu import arch as arch_of
from deploy.tune.play import NoMemoryError
from deploy.tune.problem import Problem
from deploy.tune.trial import Timing, Trial, timing_of, trial_json
from deploy.worker import Worker

TIMER, COMPILER = "deploy.tune.gpu.worker", "deploy.kernels.exact.worker"
STAND_IN_TIMER, STAND_IN_COMPILER = "SGLANG_SPARK_STANDIN_TIMER", "SGLANG_SPARK_STANDIN_COMPILER"
"""Variables that name modules in place of those two, in a lab without GPUs; what measured is then called a stand-in."""
START, TRIAL, COMPILE = 300.0, 120.0, 300.0
"""Seconds for a worker to load and fill its GPU; for one trial; for one kernel to compile."""

OUT_OF_MEMORY = "out of memory"
"""PyTorch's word and CUDA's. Triton's refusals have another one."""


@dataclass(frozen=True)
class Compiled:
    """Why a kernel cannot run, or its binary's digest; both empty where it is not known."""

    refused: str = ""
    binary: str = ""


class Device:
    """`source` is SGLang's module of kernel and launcher; `arch` the GPU's, such as 121, until its `facts` tell it."""

    def __init__(self, problem: Problem, source: Path, arch: int, compilers: int) -> None:
        self.problem, self._source, self._arch, self._compilers = problem, source, arch, compilers
        self._folder = tempfile.TemporaryDirectory(prefix="sglang-spark-tune-")
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")]))),
            "TRITON_CACHE_DIR": os.environ.get("TRITON_CACHE_DIR") or f"{self._folder.name}/triton",
        }
        if problem.emulation:
            self._environment["TRITON_OVERRIDE_ARCH"] = problem.emulation.lowering
        self._worker: Worker | None = None
        self._compiled: dict[tuple[Any, ...], Compiled] = {}
        self._made: dict[tuple[Any, ...], Timing] = {}

    def facts(self) -> dict[str, Any]:
        """What measures, and its ceilings. Raises TuneError where there is no GPU that can."""
        found = self._asked({"facts": True}, START)
        why = found.get("error") or found.get("failed")
        if why:
            raise TuneError(f"no kernel can be timed here: {why}", "it needs a CUDA GPU, PyTorch and Triton")
        self._arch = arch_of(found["capability"])
        return stood_in(found) if os.environ.get(STAND_IN_TIMER) else found

    def prepare(self, trials: Iterable[Trial]) -> None:
        """Compile what the trials need and nothing has compiled yet, in parallel, into the cache that they read."""
        every = {self._key(kernel): kernel for kernel in map(self._kernel, trials)}
        todo = [kernel for key, kernel in every.items() if key not in self._compiled]
        lowering = self.problem.emulation.lowering if self.problem.emulation else ""
        requests = [{"kernel": one.as_json(), "lowering": lowering, "only_shared": False} for one in todo]
        limit = self.problem.emulation.shared_memory if self.problem.emulation else self.problem.gpu.shared_memory
        tools = Toolchain("", None, Path(), "")
        compiler = _command(STAND_IN_COMPILER, COMPILER)
        setting = Setting(self._source, self._arch, limit, tools, COMPILE, compiler, self._environment)
        for index, answer in answers(requests, setting, self._compilers) if requests else ():
            # A compiler that was killed, for its memory perhaps, refused nothing: the process that times tries anew.
            refused = "" if "ended" in answer else str(answer.get("error") or answer.get("refusal") or "")
            self._compiled[self._key(todo[index])] = Compiled(refused, str(answer.get("binary") or ""))

    def compiled(self, trial: Trial) -> Compiled:
        """What came of compiling a trial's kernel; nothing where it was not prepared."""
        return self._compiled.get(self._key(self._kernel(trial)), Compiled())

    def time(self, trial: Trial, limit: float) -> Timing:
        """Make one trial; see Batch for the limit. A kernel that ends its process gets another, and has failed where
        it ends that too. Of configurations that compile to one binary the first is timed, and speaks for all.

        Raises NoMemoryError, and TuneError where the GPU does nothing any more.
        """
        compiled = self.compiled(trial)
        if compiled.refused:
            return Timing(failed=compiled.refused)
        if not compiled.binary:
            return self._timed(trial, limit)
        # All that a launch takes from the configuration and not from the binary is its grid.
        grid = trial.config.block_m, trial.config.block_n
        same = (compiled.binary, *grid, trial.tokens, trial.gemm, trial.stage, trial.round)
        if same in self._made:
            return replace(self._made[same], gpu=0.0)
        self._made[same] = self._timed(trial, limit)
        return self._made[same]

    def _timed(self, trial: Trial, limit: float) -> Timing:
        request = {"trial": trial_json(trial), "limit": limit}
        found = self._tried(request)
        if "seconds" not in found and "hangs" not in found:
            # It may have been the kernel before, or somebody from outside.
            found = self._tried(request)
        if "seconds" in found:
            return timing_of(found)
        why = str(found.get("error") or found["failed"])
        if OUT_OF_MEMORY in why:
            raise NoMemoryError(why)
        self.facts()  # else a GPU that is gone would be every kernel's failure
        return Timing(failed=why)

    def _tried(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An answer. A process that ended, or says that it has to, is left."""
        found = self._asked(request, TRIAL if self._worker else START)
        if "seconds" not in found:
            self._leave()
        return found

    def _kernel(self, trial: Trial) -> Kernel:
        return Kernel(trial.config, self.problem.shape, trial.gemm, trial.tokens, self.problem.filter_expert)

    @staticmethod
    def _key(kernel: Kernel) -> tuple[Any, ...]:
        """The same for all batch sizes that compile alike."""
        return kernel.config, kernel.gemm, specialisation(kernel)

    def _asked(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if self._worker is None:
            told = json.dumps(self.problem.as_json())
            self._worker = Worker.start((*_command(STAND_IN_TIMER, TIMER), str(self._source), told), self._environment)
        return self._worker.answer(request, timeout)

    def _leave(self) -> None:
        if self._worker:
            self._worker.kill()
        self._worker = None

    def close(self) -> None:
        """End the process, by its id."""
        self._leave()
        self._folder.cleanup()


def _command(variable: str, module: str) -> tuple[str, ...]:
    return sys.executable, "-m", os.environ.get(variable) or module


def stood_in(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that nobody can take for a GPU's, whatever the stand-in said."""
    name = str(facts["device"])
    return {**facts, "stand_in": True, "device": name if "stand-in" in name else f"stand-in for {name}"}
