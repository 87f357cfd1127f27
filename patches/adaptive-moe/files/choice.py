"""Which backend a batch takes, and how often each was taken. Holds thresholds by shape; measures and runs nothing."""

import logging
from contextlib import contextmanager
from typing import Dict, Iterator, Optional, Tuple

import torch

logger = logging.getLogger(__name__)

SMALL, LARGE = "triton", "triton_kernels"
NEVER = 1 << 62
"""A threshold that no batch reaches."""
Shape = Tuple[int, int]
"""(experts, hidden size): what TopK and the layer that it routes for both know of each other."""

THRESHOLDS: Dict[Shape, int] = {}
"""Of every adaptive layer of this process: from how many tokens on it takes triton_kernels."""
CALLS: Dict[str, int] = {SMALL: 0, LARGE: 0}
"""Layer calls that Python made; the replay of a CUDA graph makes none."""


def settled(shape: Shape, threshold: int) -> None:
    """Every layer of one shape has one threshold; of two that differ, the larger one serves both."""
    THRESHOLDS[shape] = max(threshold, THRESHOLDS.get(shape, threshold))


def takes_large(hidden_states: torch.Tensor, router_logits: torch.Tensor) -> bool:
    """Does this batch go to triton_kernels? Of a shape that no adaptive layer has, none does."""
    if torch.compiler.is_compiling():
        # A compiled graph serves many sizes, and triton_kernels' routing cannot be traced.
        return False
    tokens, hidden = hidden_states.shape
    return tokens >= THRESHOLDS.get((router_logits.shape[1], hidden), NEVER)


class Log:
    """Counts the calls of one layer's backends, and says the first one of each."""

    told: set = set()
    muted = False

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def called(self, backend: str, tokens: int) -> None:
        """Not where a graph is captured or compiled: what is recorded there is run later, and not by Python."""
        if torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing():
            return
        if Log.muted:
            return
        CALLS[backend] += 1
        if (self.shape, backend) not in Log.told:
            Log.told.add((self.shape, backend))
            logger.info("Adaptive MoE %s: %d tokens take %s; threshold %s.",
                        self.shape, tokens, backend, told(THRESHOLDS.get(self.shape)))  # fmt: skip


def told(threshold: Optional[int]) -> str:
    """A threshold in words."""
    return "not settled" if threshold is None else "never" if threshold >= NEVER else str(threshold)


@contextmanager
def unseen() -> Iterator[None]:
    """Calls made inside are neither counted nor told: those of a measurement."""
    Log.muted = True
    try:
        yield
    finally:
        Log.muted = False
