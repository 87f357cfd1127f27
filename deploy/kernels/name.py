"""File and folder names of kernel tables, as SGLang makes them. Looks at no disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deploy.kernels.rules import Rules, number
from deploy.kernels.shape import Shape

_NAMELESS = {"bf16": "", "fp16": "", "fp32": "float32"}
"""Data types as file names have them, where that differs."""
_PATTERN = re.compile(
    r"E=(?P<experts>[1-9]\d*),N=(?P<size>[1-9]\d*),device_name=(?P<device>[^,]+?)"
    r"(?:,dtype=(?P<dtype>\w+?))?(?:,block_shape=\[(?P<n>[1-9]\d*), (?P<k>[1-9]\d*)\])?"
    r"(?P<channel>,per_channel_quant=True)?(?P<down>_down)?\.json",
    re.ASCII,
)


@dataclass(frozen=True)
class TableName:
    """What a table's file name says; `dtype` is SGLang's word, empty for bf16 and fp16."""

    experts: int
    size: int
    device: str
    dtype: str = ""
    block: tuple[int, int] | None = None
    per_channel: bool = False
    down: bool = False

    def __str__(self) -> str:
        """The file name."""
        dtype = f",dtype={self.dtype}" if self.dtype else ""
        block = f",block_shape=[{self.block[0]}, {self.block[1]}]" if self.block else ""
        channel = ",per_channel_quant=True" if self.per_channel else ""
        end = "_down" if self.down else ""
        return f"E={self.experts},N={self.size},device_name={self.device}{dtype}{block}{channel}{end}.json"

    @property
    def shape(self) -> Shape:
        """What a name tells of the shape: hidden size and top-k stay 0."""
        dtype = {"": "bf16", "float32": "fp32"}.get(self.dtype, self.dtype)
        return Shape(self.experts, self.size, 0, 0, dtype, self.block, self.per_channel)


def table_name(shape: Shape, device: str, rules: Rules, *, down: bool = False) -> TableName:
    """The name under which this SGLang looks for a shape's table."""
    dtype = _NAMELESS.get(shape.dtype, shape.dtype)
    channel = shape.per_channel and rules.per_channel_in_name
    return TableName(shape.experts, shape.intermediate, device, dtype, shape.block, channel, down)


def read_name(name: str) -> TableName | None:
    """What a file name says; None where no SGLang would look for it."""
    found = _PATTERN.fullmatch(name)
    if not found:
        return None
    block = (int(found["n"]), int(found["k"])) if found["n"] else None
    sizes = int(found["experts"]), int(found["size"])
    return TableName(*sizes, found["device"], found["dtype"] or "", block, bool(found["channel"]), bool(found["down"]))


def folder(triton: str) -> str:
    """`triton_3_5_0` for 3.5.0."""
    return f"triton_{triton.replace('.', '_')}"


def version_of(folder_name: str) -> str | None:
    """`3.5.0` for triton_3_5_0; None for any other folder."""
    found = re.fullmatch(r"triton_(\d+)_(\d+)_(\d+)", folder_name, re.ASCII)
    return ".".join(found.groups()) if found else None


def searched(rules: Rules, triton: str, present: Iterable[str]) -> tuple[str, ...]:
    """Triton versions whose folders are searched for a table, in order. `present`: the versions that have folders."""
    if rules.fallbacks is None:
        others: Iterable[str] = sorted(set(present), key=number, reverse=True)
    else:
        others = rules.fallbacks
    return (triton, *(one for one in others if one != triton))
