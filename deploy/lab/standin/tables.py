"""Which kernel table a rank would use, and whether its default can run: SGLang's lines. deploy/kernels has rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.kernels.default import default_segments
from deploy.kernels.finding import Target
from deploy.kernels.memory import shared_memory
from deploy.kernels.name import folder, searched, version_of
from deploy.kernels.shape import Shape
from deploy.kernels.table import nearest

Table = dict[int, dict[str, int]]
"""Read as leniently as SGLang reads it: a rank starts with any file that is JSON."""


class TablePairError(AssertionError):
    """The up and the down table disagree on BLOCK_SIZE_M for some number of tokens."""


AS_IT_IS = "SGLANG_SPARK_MOE_DEFAULT"
"""Set to `upstream`, this leaves SGLang's default as it is: the image's patch in shared_memory.py reads it."""


class OutOfResourcesError(RuntimeError):
    """SGLang's default needs more shared memory than the GPU has, for some number of tokens."""


@dataclass(frozen=True)
class Found:
    """A look-up's outcome: the table, or None where the built-in default is used, and the line that is logged."""

    table: Table | None
    line: str


def look_up(home: Path, target: Target, name: str) -> Found:
    """Search `home`/configs as SGLang does: this Triton's folder, then the fallbacks."""
    configs = home / "configs"
    present = filter(None, (version_of(path.name) for path in configs.glob("triton_*")))
    wanted, *others = (
        (version, configs / folder(version) / name) for version in searched(target.rules, target.triton, present)
    )
    if wanted[1].exists():
        return Found(read(wanted[1]), f"Using MoE kernel config from {wanted[1]}.")
    for version, path in others:
        if path.exists():
            return Found(
                read(path),
                f"Config file not found at {wanted[1]}. Fallback to triton version {version} and use MoE kernel config "
                f"from {path}. Performance might be sub-optimal!",
            )
    return Found(
        None,
        "Using default MoE kernel config. Performance might be sub-optimal! "
        f"Config file not found at {wanted[1]}, you can create them with "
        "https://github.com/sgl-project/sglang/tree/main/benchmark/kernels/fused_moe_triton",
    )


def read(path: Path) -> Table:
    """A table by number of tokens, in the file's order."""
    return {int(tokens): config for tokens, config in json.loads(path.read_text()).items()}


def default_block(tokens: int, shape: Shape, target: Target) -> int:
    """BLOCK_SIZE_M of the built-in default config."""
    met = (one for one in default_segments(shape, target) if tokens <= one.last)
    return next(met).config.block_m


def check_pair(up: Table | None, down: Table | None, shape: Shape, target: Target, batches: Iterable[int]) -> None:
    """TablePairError where a batch would trip SGLang's bare assertion."""
    if not down or target.rules.pair_overridden:
        return
    for tokens in batches:
        block = up[nearest(up, tokens)]["BLOCK_SIZE_M"] if up else default_block(tokens, shape, target)
        if block != down[nearest(down, tokens)]["BLOCK_SIZE_M"]:
            raise TablePairError(f"BLOCK_SIZE_M of up and down differ for {tokens} tokens")


def check_default(shape: Shape, target: Target, batches: Iterable[int]) -> None:
    """OutOfResourcesError, in Triton's words, where a batch meets a default that the GPU cannot run."""
    limit = target.gpu.shared_memory
    for tokens in batches:
        config = next(one.config for one in default_segments(shape, target) if tokens <= one.last)
        needed = shared_memory(config, shape.gemms[0], target.gpu)
        if needed > limit:
            raise OutOfResourcesError(
                f"out of resource: shared memory, Required: {needed}, Hardware limit: {limit}. "
                "Reducing block sizes or `num_stages` may help."
            )
