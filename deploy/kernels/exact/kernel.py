"""Which kernels a server compiles for a table: one for each entry, GEMM and way to specialise. Compiles nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from deploy.kernels.shape import Gemm, Shape
from deploy.kernels.table import Config, Table

PERIOD = 16
"""Triton's JIT distinguishes integers by whether 16 divides them, so that batch sizes repeat after this many."""


@dataclass(frozen=True)
class Kernel:
    """One launch: this entry for that many tokens. `filter_expert` is set under expert parallelism."""

    config: Config
    shape: Shape
    gemm: Literal["up", "down"]
    tokens: int
    filter_expert: bool = False

    @property
    def matrices(self) -> Gemm:
        """The GEMM's own shape."""
        return next(gemm for gemm in self.shape.gemms if gemm.name == self.gemm)

    def as_json(self) -> dict[str, Any]:
        """What a worker reads."""
        return asdict(self)


def from_json(fields: Mapping[str, Any]) -> Kernel:
    """The inverse of `Kernel.as_json`."""
    shape = dict(fields["shape"])
    shape["block"] = tuple(shape["block"]) if shape["block"] else None
    config = dict(fields["config"])
    config["options"] = tuple((name, value) for name, value in config["options"])
    return Kernel(**dict(fields) | {"config": Config(**config), "shape": Shape(**shape)})


def of_table(table: Table, shape: Shape, gemm: Literal["up", "down"], filter_expert: bool = False) -> Iterator[Kernel]:
    """Every kernel that this table can make a server compile for one GEMM, at 1 to 65,536 tokens."""
    for span in table.spans:
        first = Kernel(table.entries[span.key], shape, gemm, span.first, filter_expert)
        yield from representatives(first, span.last)


def specialisation(kernel: Kernel) -> tuple[bool, ...]:
    """What Triton's JIT sees of the number of tokens: two kernels alike but for it are one where this is equal."""
    rows = kernel.tokens * kernel.shape.top_k
    padded = rows + (kernel.shape.experts + 1) * (kernel.config.block_m - 1)
    return rows % PERIOD == 0, rows == 1, padded % PERIOD == 0, padded == 1


def representatives(kernel: Kernel, last: int) -> Iterator[Kernel]:
    """One kernel for each specialisation that batches of `kernel.tokens` to `last` tokens meet."""
    seen = set()
    for tokens in range(kernel.tokens, min(last, kernel.tokens + PERIOD) + 1):
        candidate = replace(kernel, tokens=tokens)
        if (key := specialisation(candidate)) not in seen:
            seen.add(key)
            yield candidate
