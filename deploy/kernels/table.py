"""A kernel table: one kernel configuration by batch size, and which one SGLang takes. Opens no file; see parse.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

TOKENS = 65_536
"""The largest batch that SGLang gives to one kernel: it cuts larger ones into such chunks."""


@dataclass(frozen=True)
class Config:
    """One entry, as Triton's launcher takes it. `use_tma` is None where the entry does not name it."""

    block_m: int
    block_n: int
    block_k: int
    group_m: int
    num_warps: int
    num_stages: int
    use_tma: bool | None = None
    options: tuple[tuple[str, int], ...] = ()
    """Further launch options by name, such as AMD's waves_per_eu."""

    def as_json(self) -> dict[str, int | bool]:
        """Under SGLang's own names and in its order; what is not set is left out."""
        fields: dict[str, int | bool] = {
            "BLOCK_SIZE_M": self.block_m,
            "BLOCK_SIZE_N": self.block_n,
            "BLOCK_SIZE_K": self.block_k,
            "GROUP_SIZE_M": self.group_m,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
            **dict(self.options),
        }
        return fields if self.use_tma is None else {**fields, "USE_TMA": self.use_tma}


@dataclass(frozen=True)
class Span:
    """The batch sizes `first` to `last`, both included, that take the entry `key`."""

    first: int
    last: int
    key: int


@dataclass(frozen=True)
class Table:
    """Entries by batch size (tokens), in the order of the file: a tie goes to the first."""

    entries: Mapping[int, Config] = field(hash=False)

    def choose(self, tokens: int) -> int:
        """The batch size whose entry SGLang takes for this many tokens: the nearest, the first of two as near."""
        return nearest(self.entries, tokens)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Which entry 1 to TOKENS tokens take, as few spans in ascending order: what `choose` says, all at once."""
        keys = sorted(self.entries)
        order = {key: place for place, key in enumerate(self.entries)}
        ends = [_last_of(low, high, order) for low, high in pairwise(keys)]
        firsts, lasts = [1, *(end + 1 for end in ends)], [*ends, TOKENS]
        spans = map(Span, firsts, (min(last, TOKENS) for last in lasts), keys)
        return tuple(span for span in spans if span.first <= span.last)


def nearest(sizes: Iterable[int], tokens: int) -> int:
    """The batch size that SGLang takes for this many tokens, of those that a table has in this order."""
    return min(sizes, key=lambda size: abs(size - tokens))


def _last_of(low: int, high: int, order: Mapping[int, int]) -> int:
    """The last batch size that still takes `low`; the middle between two keys is as near to both."""
    middle, odd = divmod(low + high, 2)
    return middle if odd or order[low] < order[high] else middle - 1
