"""Which batch sizes to tune: those of SGLang's tuner, and those that a server's settings make. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.kernels.batches import batches
from deploy.kernels.exact.space import BATCHES

FAR = 1.25
"""A batch whose nearest size differs by more than this factor gets a size of its own."""


def sizes(flags: Mapping[str, Any]) -> tuple[int, ...]:
    """SGLang's list, with what these launch flags add: batches that speculation makes, and the largest prefill."""
    # Of ranges in which every size occurs, the ends; SGLang's list covers what lies between.
    made = {size for batch in batches(flags) for size in (batch.sizes[-1:] if batch.every else batch.sizes)}
    chosen = set(BATCHES)
    while far := [size for size in made if all(_apart(size, one) > FAR for one in chosen)]:
        # The one in the middle of the widest gap covers the most of the others.
        chosen.add(max(far, key=lambda size: (min(_apart(size, one) for one in chosen), -size)))
    return tuple(sorted(chosen))


def _apart(one: int, other: int) -> float:
    return max(one, other) / min(one, other)
