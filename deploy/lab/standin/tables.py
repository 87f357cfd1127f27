"""Which kernel table a rank would use: SGLang's rule for names, folders, fallbacks and log lines; needs no GPU."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = "srt/layers/moe/fused_moe_triton/fused_moe_triton_config.py"
Table = dict[int, dict[str, int]]


class TablePairError(AssertionError):
    """The up and the down table disagree on BLOCK_SIZE_M for some number of tokens."""


@dataclass(frozen=True)
class Shape:
    """One rank's part of the experts: how many, their size after TP, on which device, in which number format."""

    experts: int
    size: int
    device: str
    dtype: str

    def file_name(self, down: bool) -> str:
        """The name that SGLang looks for; `down` is the second of the two products."""
        dtype = f",dtype={self.dtype}" if self.dtype else ""
        end = "_down" if down else ""
        return f"E={self.experts},N={self.size},device_name={self.device}{dtype}{end}.json"


@dataclass(frozen=True)
class Found:
    """A look-up's outcome: the table, or None where the built-in default is used, and the line that is logged."""

    table: Table | None
    line: str


def fallbacks(source: str) -> tuple[str, ...]:
    """The Triton versions that this SGLang falls back to, from its source text, newest first."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "supported_triton_versions":
            return tuple(ast.literal_eval(node.value))
    return ()


def look_up(folder: Path, triton: str, others: Sequence[str], name: str) -> Found:
    """Search `folder`/configs as SGLang does: this Triton's folder, then the fallbacks."""
    wanted = folder / "configs" / version_folder(triton) / name
    if wanted.exists():
        return Found(read(wanted), f"Using MoE kernel config from {wanted}.")
    for other in others:
        path = folder / "configs" / version_folder(other) / name
        if other != triton and path.exists():
            return Found(
                read(path),
                f"Config file not found at {wanted}. Fallback to triton version {other} and use MoE kernel config "
                f"from {path}. Performance might be sub-optimal!",
            )
    return Found(
        None,
        "Using default MoE kernel config. Performance might be sub-optimal! "
        f"Config file not found at {wanted}, you can create them with "
        "https://github.com/sgl-project/sglang/tree/main/benchmark/kernels/fused_moe_triton",
    )


def version_folder(triton: str) -> str:
    """`triton_3_5_0` for 3.5.0."""
    return f"triton_{triton.replace('.', '_')}"


def read(path: Path) -> Table:
    """A table by number of tokens, in the file's order."""
    return {int(tokens): config for tokens, config in json.loads(path.read_text()).items()}


def nearest(table: Table, tokens: int) -> dict[str, int]:
    """The config for a batch of so many tokens; of two equally near keys the first in the file."""
    return table[min(table, key=lambda key: abs(key - tokens))]


def default_block(tokens: int, shape: Shape) -> int:
    """BLOCK_SIZE_M of the built-in default config."""
    if shape.dtype == "fp8_w8a8":
        return 64 if tokens <= shape.experts else 128
    return 16 if tokens <= shape.experts else 64


def check_pair(up: Table | None, down: Table | None, shape: Shape, batches: Iterable[int]) -> None:
    """TablePairError where a batch would trip SGLang's bare assertion."""
    if down is None:
        return
    for tokens in batches:
        block = nearest(up, tokens)["BLOCK_SIZE_M"] if up else default_block(tokens, shape)
        if block != nearest(down, tokens)["BLOCK_SIZE_M"]:
            raise TablePairError(f"BLOCK_SIZE_M of up and down differ for {tokens} tokens")
