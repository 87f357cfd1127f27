"""A kernel table: one kernel configuration by batch size. Reading files and judging entries are not done here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One entry, as Triton's launcher takes it."""

    block_m: int
    block_n: int
    block_k: int
    group_m: int
    num_warps: int
    num_stages: int
    use_tma: bool = False

    def as_json(self) -> dict[str, int | bool]:
        """Under SGLang's own names and in its order; USE_TMA only where set."""
        fields: dict[str, int | bool] = {
            "BLOCK_SIZE_M": self.block_m,
            "BLOCK_SIZE_N": self.block_n,
            "BLOCK_SIZE_K": self.block_k,
            "GROUP_SIZE_M": self.group_m,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }
        return fields | ({"USE_TMA": True} if self.use_tma else {})


@dataclass(frozen=True)
class Table:
    """Entries by batch size (tokens), in the order of the file: a tie goes to the first."""

    entries: Mapping[int, Config]

    def choose(self, tokens: int) -> int:
        """The batch size whose entry SGLang takes for this many tokens: the nearest, the first of two as near."""
        return min(self.entries, key=lambda size: abs(size - tokens))
