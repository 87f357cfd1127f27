"""Exact mode: what Triton's own compiler says of SGLang's own kernel, without a GPU. Judges nothing; see check.py."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import store
from deploy.errors import ConfigError
from deploy.event import Event, Progress
from deploy.kernels.exact.kernel import Kernel
from deploy.kernels.exact.pool import Setting, answers
from deploy.kernels.exact.proof import Cache, Finding, Proof, Target, key, read_finding
from deploy.kernels.exact.source import MODULE, of_wheel
from deploy.kernels.exact.toolchain import Toolchain, toolchain

OURS = ("compile.py", "cubin.py", "kernel.py", "launcher.py", "worker.py")
"""Our own part in an answer: when one of these changes, nothing kept is true any more."""


@dataclass(frozen=True)
class How:
    """Options of a run: stop after Triton allocated shared memory; processes; seconds a kernel may take."""

    only_shared: bool = False
    workers: int = 0
    timeout: float = 120.0


@dataclass(frozen=True)
class Proofs:
    """A proof for each kernel asked for, in that order, and what made them."""

    proofs: tuple[Proof, ...]
    target: Target
    toolchain: Toolchain


def prove(kernels: Sequence[Kernel], target: Target, how: How | None = None) -> Generator[Event, None, Proofs]:
    """Compile what no earlier run compiled, in parallel. A kernel that fails is a proof with its error.

    ConfigError where the tools cannot serve; BuildError where PyPI does not have them.
    """
    how = how or How()
    for kernel in kernels:
        _named(kernel)
    tools = toolchain(target.triton)
    source = of_wheel(target.sglang)
    made = {"sglang": _hash(source), "ours": _ours(), "triton": tools.triton, "ptxas": tools.ptxas_version}
    keys = [key(kernel, target, made, how.only_shared) for kernel in kernels]
    cache = Cache(store.cache() / "kernels")
    known = {each: finding for each in set(keys) if (finding := cache.get(each))}
    missing = {each: kernel for each, kernel in zip(keys, kernels, strict=True) if each not in known}
    errors: dict[str, str] = {}
    yield Progress("compile", len(known), len(set(keys)), "kernels")
    for each, found in _compile(missing, target, tools, (source, how)):
        if isinstance(found, Finding):
            cache.put(each, found)
            known[each] = found
        else:
            errors[each] = found
        yield Progress("compile", len(known) + len(errors), len(set(keys)), "kernels")
    proofs = (
        Proof(kernel, known.get(each), errors.get(each, ""), each not in missing)
        for each, kernel in zip(keys, kernels, strict=True)
    )
    return Proofs(tuple(proofs), target, tools)


def _named(kernel: Kernel) -> None:
    shape = kernel.shape
    if not (shape.experts and shape.intermediate and shape.hidden and shape.top_k):
        raise ConfigError(f"exact mode needs the whole shape, not {shape}", "name the model, or --hidden and --top-k")


def _compile(
    missing: dict[str, Kernel], target: Target, tools: Toolchain, given: tuple[bytes, How]
) -> Iterator[tuple[str, Finding | str]]:
    """Each key with its finding, or with the error as text; the largest tiles, which take longest, first."""
    source, how = given
    if not missing:
        return
    order = sorted(missing, key=lambda each: missing[each].config.block_m * missing[each].config.block_n, reverse=True)
    requests = [
        {"kernel": missing[each].as_json(), "lowering": target.lowering, "only_shared": how.only_shared}
        for each in order
    ]
    with tempfile.TemporaryDirectory(prefix="sglang-spark-source-") as folder:
        module = Path(folder) / MODULE
        module.write_bytes(source)
        setting = Setting(module, target.arch, target.gpu.shared_memory, tools, how.timeout)
        for job, answer in answers(requests, setting, how.workers or len(os.sched_getaffinity(0))):
            yield order[job], _read(answer)


def _read(answer: dict[str, Any]) -> Finding | str:
    if "error" in answer:
        return str(answer["error"])
    try:
        return read_finding(answer)
    except ValueError as error:
        return str(error)


def _ours() -> str:
    return _hash(b"\0".join((Path(__file__).parent / name).read_bytes() for name in OURS))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
