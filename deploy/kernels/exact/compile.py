"""The one home of `triton`: compiles one kernel for a GPU that is not there, and reads what the compiler says of it.

A stand-in driver names the GPU; the JIT, the compiler, its error texts and ptxas are Triton's own.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend, nvidia
from triton.runtime.errors import OutOfResources

from deploy.kernels.exact.cubin import resources
from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.launcher import StandIns, launch, load

WARP = 32
MATRIX = re.compile(r"\b(?:wgmma\.mma_async|mma)\.sync\.aligned\.[\w.]+|\btcgen05\.mma\.[\w.:]+")
"""Matrix instructions in PTX: of mma v2, of Hopper and of Blackwell's data-centre GPUs."""


class AllocatedError(Exception):
    """Ends a compilation as soon as shared memory is allocated."""


class Driver:
    """A stand-in for the CUDA driver: reports the GPU, takes the binary and runs nothing."""

    def __init__(self, arch: int, limit: int) -> None:
        self.arch = arch
        properties = {"max_shared_mem": limit, "multiprocessor_count": 1, "warpSize": WARP}
        self.utils = SimpleNamespace(get_device_properties=lambda _device: properties, load_binary=self.load_binary)

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.arch, WARP)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 0

    def launcher_cls(self, _source: object, _metadata: object) -> Callable[..., None]:
        return lambda *_arguments: None

    def load_binary(self, _name: str, cubin: bytes, _shared: int, _device: int) -> tuple[None, None, int, int, int]:
        """Module and function of nothing, registers, spilled words and the most threads a block."""
        found = resources(cubin)
        return None, None, found.registers, found.spilled // 4, 1024


class Stages:
    """Watches Triton's stages go by: keeps what each one made, and can stop once shared memory is allocated."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.shared: int | None = None
        self.only_shared = False
        self._module: Any = None

    def install(self) -> None:
        """Once a process: into the backend, and before the first pass that follows allocation."""
        add_stages, to_llvm = CUDABackend.add_stages, nvidia.passes.ttgpuir.add_to_llvmir

        def watched(backend: CUDABackend, stages: dict[str, Any], *rest: Any) -> None:
            add_stages(backend, stages, *rest)
            stages.update({name: self._watch(name, stage) for name, stage in stages.items()})

        def stop_here(passes: Any, *rest: Any) -> None:
            if self.only_shared:
                self._allocate(passes)
            to_llvm(passes, *rest)

        CUDABackend.add_stages = watched
        nvidia.passes.ttgpuir.add_to_llvmir = stop_here

    def begin(self, only_shared: bool) -> None:
        """Forget the last kernel."""
        self.made, self.shared, self.only_shared = {}, None, only_shared

    def _watch(self, name: str, stage: Callable[[Any, dict[str, Any]], Any]) -> Callable[[Any, dict[str, Any]], Any]:
        def run(source: Any, metadata: dict[str, Any]) -> Any:
            self._module = source
            self.made[name] = stage(source, metadata)
            self.shared = metadata.get("shared", self.shared)
            return self.made[name]

        return run

    def _allocate(self, passes: Any) -> None:
        try:
            passes.run(self._module)
        except TypeError:  # from Triton 3.6 on with a name
            passes.run(self._module, "make_llir")
        self.shared = self._module.get_int_attr("ttg.shared")
        raise AllocatedError


class Compiler:
    """Compiles kernels of one SGLang module for one GPU; one a process, since Triton's driver is the process's."""

    def __init__(self, source: Path, arch: int, limit: int) -> None:
        self._stages = Stages()
        self._stages.install()
        triton.runtime.driver.set_active(Driver(arch, limit))
        self._module = load(source, StandIns(arch))

    def compile(self, kernel: Kernel, lowering: str, only_shared: bool) -> dict[str, Any]:
        """What the compiler says, as JSON: bytes, registers and Triton's own refusal; raises what Triton raises."""
        os.environ.pop("TRITON_OVERRIDE_ARCH", None)
        if lowering:
            os.environ["TRITON_OVERRIDE_ARCH"] = lowering
        self._forget()
        self._stages.begin(only_shared)
        refusal, start = "", time.perf_counter()
        with suppress(AllocatedError):
            try:
                launch(self._module, kernel)
            except OutOfResources as error:
                refusal = str(error)
        told = {"refusal": refusal, "binary": self._binary(), "seconds": round(time.perf_counter() - start, 3)}
        return self._found() | told

    def _binary(self) -> str:
        """SHA-256 of what was compiled, or taken from the cache; empty where it was refused."""
        functions = [one for one in vars(self._module).values() if isinstance(one, triton.JITFunction)]
        caches = [cache for function in functions for cache in function.device_caches.values()]
        binaries = [kernel.asm["cubin"] for cache in caches for kernel in cache[0].values()]
        return hashlib.sha256(b"".join(binaries)).hexdigest() if binaries else ""

    def _forget(self) -> None:
        """Triton would answer a kernel that it knows from memory, past our eyes."""
        for value in vars(self._module).values():
            if isinstance(value, triton.JITFunction):
                value.device_caches.clear()

    def _found(self) -> dict[str, Any]:
        found: dict[str, Any] = {"shared": self._stages.shared, "registers": None, "spilled": None, "instructions": []}
        if cubin := self._stages.made.get("cubin"):
            read = resources(cubin)
            kinds = set(MATRIX.findall(self._stages.made["ptx"]))
            found |= {"registers": read.registers, "spilled": read.spilled, "instructions": sorted(kinds)}
        return found
