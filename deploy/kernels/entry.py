"""What one entry of a table may be, on one GPU and for one GEMM. Knows no file and no batch size."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.kernels.finding import Finding, Target
from deploy.kernels.memory import shared_memory
from deploy.kernels.shape import BYTES, Gemm
from deploy.kernels.table import Config

LEAST_K = {1: 32, 2: 16, 4: 16}
"""`tl.dot`'s least K by bytes of an element."""
SPILLING = 256
"""Accumulators of a thread (of 255 registers) from which the compiler keeps kilobytes of them in local memory."""
AMD = ("waves_per_eu", "matrix_instr_nonkdim", "kpack")


def entry_findings(config: Config, gemm: Gemm, target: Target) -> Iterator[Finding]:
    """What is wrong with a configuration; findings without file and batch size."""
    yield from _memory(config, gemm, target)
    yield from _tile(config, gemm)
    yield from _tma(config, gemm, target)
    yield from _options(config, target)


def _memory(config: Config, gemm: Gemm, target: Target) -> Iterator[Finding]:
    need, limit = shared_memory(config, gemm, target.gpu), target.gpu.shared_memory
    if need > limit:
        message = f"needs {need:,} bytes of shared memory, and a block on {target.gpu.name} may have {limit:,}"
        hint = "take fewer num_stages or a smaller tile: (num_stages - 1) x (M + N) x K x bytes of an element"
        yield Finding("error", "shared_memory", message, hint, gemm=gemm.name, bytes=need, limit=limit)


def _tile(config: Config, gemm: Gemm) -> Iterator[Finding]:
    least = LEAST_K[BYTES[gemm.dtype]]
    if config.block_k < least:
        message = f"BLOCK_SIZE_K is {config.block_k}, and Triton's dot takes {least} at least for {gemm.dtype}"
        yield Finding("error", "tile_k", message, f"take {least} or more", gemm=gemm.name)
    if gemm.block and gemm.block[1] % config.block_k:
        message = f"BLOCK_SIZE_K {config.block_k} does not divide the block of {gemm.block[1]} that shares a scale"
        yield Finding("error", "block_k", message, "wrong scales would be applied without a word", gemm=gemm.name)
    if gemm.block and gemm.block[0] % config.block_n and config.block_n % gemm.block[0]:
        message = f"BLOCK_SIZE_N {config.block_n} and the block of {gemm.block[0]} that shares a scale do not fit"
        yield Finding("error", "block_n", message, "one has to divide the other", gemm=gemm.name)
    accumulators = config.block_m * config.block_n // (32 * config.num_warps)
    if accumulators >= SPILLING:
        message = f"{accumulators} accumulators a thread, so kilobytes of them are spilled"
        yield Finding("warning", "spills", message, "take more num_warps or a smaller tile", gemm=gemm.name)
    if gemm.k and gemm.k % config.block_k:
        waste = -gemm.k % config.block_k
        message = f"BLOCK_SIZE_K {config.block_k} does not divide {gemm.k}: {waste / (gemm.k + waste):.0%} is padding"
        yield Finding("note", "padding", message, gemm=gemm.name)


def _tma(config: Config, gemm: Gemm, target: Target) -> Iterator[Finding]:
    if config.use_tma is None:
        return
    if gemm.name == "up":
        message = "USE_TMA is given: SGLang passes it on to the kernel, which takes no such argument"
        yield Finding("error", "use_tma_up", message, "leave it out; it belongs into a _down table", gemm="up")
    elif config.use_tma and (gemm.block is None or gemm.dtype != "fp8_w8a8"):
        message = "USE_TMA needs block-wise fp8: the kernel asserts it"
        yield Finding("error", "use_tma", message, "leave USE_TMA out", gemm=gemm.name)
    elif config.use_tma and target.gpu.capability < (9, 0):
        message = f"USE_TMA needs compute capability 9.0 or newer, and {target.gpu.name} has {_dotted(target)}"
        yield Finding("error", "use_tma", message, "leave USE_TMA out", gemm=gemm.name)


def _options(config: Config, target: Target) -> Iterator[Finding]:
    amd = [name for name, _ in config.options if name in AMD]
    if amd:
        message = f"{', '.join(amd)} is for AMD: Triton for {target.gpu.name} refuses the launch"
        yield Finding("error", "option", message, "leave it out")
    ctas = dict(config.options).get("num_ctas", 1)
    if ctas > 1 and target.gpu.capability < (9, 0):
        message = f"num_ctas {ctas} needs thread-block clusters, which {target.gpu.name} ({_dotted(target)}) lacks"
        yield Finding("error", "option", message, "take num_ctas 1")


def _dotted(target: Target) -> str:
    return ".".join(map(str, target.gpu.capability))
