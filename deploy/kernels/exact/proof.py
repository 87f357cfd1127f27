"""What the compiler said of a kernel, and the cache in which it is kept by content. Starts nothing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from deploy.kernels.exact.kernel import Kernel, specialisation
from deploy.kernels.gpu import Gpu, arch

FP8 = ("e4m3", "e5m2", "f8f6f4")
"""How PTX names FP8 operands of a matrix instruction."""


@dataclass(frozen=True)
class Target:
    """What kernels are compiled for. `lowering` is TRITON_OVERRIDE_ARCH, such as sm120; empty for the GPU's own."""

    gpu: Gpu
    sglang: str
    triton: str
    lowering: str = ""

    @property
    def arch(self) -> int:
        """The compute capability as Triton writes it: 121."""
        return arch(self.gpu.capability)


@dataclass(frozen=True)
class Finding:
    """Bytes a block of shared memory; registers and spilled bytes a thread, None where ptxas was not asked.

    `instructions` are the matrix instructions in PTX; `refusal` is what Triton says on a GPU too small for the kernel.
    """

    shared: int
    registers: int | None
    spilled: int | None
    instructions: tuple[str, ...]
    refusal: str
    seconds: float

    @property
    def native(self) -> bool | None:
        """Whether FP8 is multiplied as FP8, not as f16; None where PTX was not made."""
        return any(word in kind for kind in self.instructions for word in FP8) if self.instructions else None


@dataclass(frozen=True)
class Proof:
    """One kernel and what became of it: a finding, or the error that stands in its place."""

    kernel: Kernel
    finding: Finding | None
    error: str = ""
    cached: bool = False

    def fits(self, gpu: Gpu) -> bool:
        """Whether it compiled and a block of that GPU can hold it."""
        return self.finding is not None and self.finding.shared <= gpu.shared_memory


def read_finding(answer: Mapping[str, Any]) -> Finding:
    """From JSON. ValueError where a field is missing or of another type."""
    try:
        found = Finding(**{field.name: answer[field.name] for field in fields(Finding)})
        numbers = [value for value in (found.registers, found.spilled) if value is not None]
        if any(type(value) is not int for value in (found.shared, *numbers)) or type(found.refusal) is not str:
            raise TypeError
        return replace(found, instructions=tuple(map(str, found.instructions)), seconds=float(found.seconds))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no finding: {str(answer)[:200]}") from error


def key(kernel: Kernel, target: Target, tools: Mapping[str, str], only_shared: bool) -> str:
    """The content's name: all that the compiler's answer follows from, and of the batch size what Triton sees of it."""
    content = {
        "kernel": kernel.as_json() | {"tokens": specialisation(kernel)},
        "gpu": [target.arch, target.gpu.shared_memory],
        "lowering": target.lowering,
        "tools": dict(tools),
        "only_shared": only_shared,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Cache:
    """Findings by key, a file each. What cannot be read is not there; what failed is never kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Finding | None:
        """The finding kept, or None: a file that is damaged is compiled again."""
        try:
            kept = json.loads(self._path(key).read_bytes())
            return read_finding(kept["finding"]) if kept["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, key: str, finding: Finding) -> None:
        """Whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, new = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"key": key, "finding": asdict(finding)}, file)
        Path(new).replace(path)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
