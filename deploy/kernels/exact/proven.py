"""Checked tables before the compiler: what exact mode says of every entry. Compiles nothing by itself; see prove.py."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from deploy.errors import ConfigError
from deploy.event import Event
from deploy.grid import grid
from deploy.kernels.check import Row, Verdict
from deploy.kernels.exact.kernel import Kernel, representatives
from deploy.kernels.exact.proof import Proof
from deploy.kernels.exact.proof import Target as Arch
from deploy.kernels.exact.prove import Proofs, prove
from deploy.kernels.finding import Finding, Target
from deploy.kernels.models import BY_HAND
from deploy.kernels.shape import Shape

NATIVE = "sm120"
"""The architecture whose lowering makes fp8 dots native on GB10 before Triton 3.8.0."""


@dataclass(frozen=True)
class Entry:
    """The worst that the compiler said of one entry for one GEMM, over all the ways in which it is specialised."""

    file: str
    row: Row
    proofs: tuple[Proof, ...]

    @property
    def error(self) -> str:
        return next((one.error for one in self.proofs if one.finding is None), "")

    @property
    def shared(self) -> int:
        return max((one.finding.shared for one in self.proofs if one.finding), default=0)

    @property
    def registers(self) -> int:
        return max((one.finding.registers or 0 for one in self.proofs if one.finding), default=0)

    @property
    def spilled(self) -> int:
        return max((one.finding.spilled or 0 for one in self.proofs if one.finding), default=0)

    @property
    def lowering(self) -> str:
        """What the dot became: `f16`, `native`, or nothing where it is no fp8 one."""
        said = {one.finding.native for one in self.proofs if one.finding and one.kernel.shape.dtype == "fp8_w8a8"}
        return {True: "native", False: "f16"}.get(said.pop() or False, "") if len(said) == 1 else ""


@dataclass(frozen=True)
class Proven:
    """All entries, and what was asked: SGLang, Triton, ptxas."""

    entries: tuple[Entry, ...]
    target: Target
    made: Proofs

    @property
    def versions(self) -> dict[str, str]:
        tools = self.made.toolchain
        return {"sglang": self.target.sglang, "triton": tools.triton, "ptxas": tools.ptxas_version}

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(_errors(self.entries, self.target))

    def as_json(self) -> dict[str, Any]:
        """Each entry with bytes of shared memory, registers and spilled bytes a thread, and what an fp8 dot became."""
        return {
            "versions": self.versions,
            "entries": [_json(one) for one in self.entries],
            "mismatches": sum(one.row.bytes != one.shared for one in self.entries),
            "findings": [vars(one) for one in self.errors],
        }

    def as_text(self) -> str:
        """A line an entry."""
        rows = [("entry", "GEMM", "shared, bytes", "registers", "spilled, bytes", "fp8 dot")]
        for one in self.entries:
            numbers = f"{one.shared:,}", str(one.registers), str(one.spilled)
            rows.append((one.row.segment.label, one.row.gemm, *numbers, one.lowering))
        made = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join([f"by the compiler ({made})", *("  " + line for line in grid(rows))])


def proven(verdicts: Sequence[Verdict], shape: Shape | None, target: Target) -> Generator[Event, None, Proven]:
    """Ask the compiler of every entry that a batch can take. Raises ConfigError where the shape is not known whole."""
    asked = [(verdict.file.path, row) for verdict in verdicts for row in verdict.rows if verdict.file.table]
    if shape is None or not (shape.hidden and shape.top_k):
        raise ConfigError("exact mode compiles for a whole shape, and the model is not known", f"--model, or {BY_HAND}")
    kernels = [(place, one) for place, (_, row) in enumerate(asked) for one in _kernels(row, shape)]
    arch = Arch(target.gpu, target.sglang, target.triton, NATIVE if target.native_fp8 else "")
    made = yield from prove([one for _, one in kernels], arch)
    proofs: list[list[Proof]] = [[] for _ in asked]
    for (place, _), proof in zip(kernels, made.proofs, strict=True):
        proofs[place].append(proof)
    entries = (Entry(file, row, tuple(found)) for (file, row), found in zip(asked, proofs, strict=True))
    return Proven(tuple(entries), target, made)


def _kernels(row: Row, shape: Shape) -> Iterator[Kernel]:
    one = row.segment
    gemm = cast(Literal["up", "down"], row.gemm)
    yield from representatives(Kernel(one.config, shape, gemm, one.first), one.last)


def _errors(entries: Sequence[Entry], target: Target) -> Iterator[Finding]:
    limit = target.gpu.shared_memory
    for one in entries:
        segment = one.row.segment
        base = Finding(
            "error", "", "", file=one.file, key=segment.label, gemm=one.row.gemm, tokens=(segment.first, segment.last)
        )
        if one.error:
            yield replace(base, code="compile", message=f"does not compile: {one.error.splitlines()[0]}")
        elif one.shared > limit:
            message = f"needs {one.shared:,} bytes of shared memory by the compiler, and a block may have {limit:,}"
            yield replace(base, code="shared_memory", message=message, bytes=one.shared, limit=limit)


def _json(one: Entry) -> dict[str, Any]:
    return {
        "file": one.file,
        "key": one.row.segment.label,
        "gemm": one.row.gemm,
        "shared": one.shared,
        "closed_form": one.row.bytes,
        "registers": one.registers,
        "spilled": one.spilled,
        "lowering": one.lowering,
        "error": one.error,
    }
