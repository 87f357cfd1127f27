"""Which backend a batch takes, and how often each was taken. Holds thresholds by shape; measures and runs nothing."""

import logging
import sys
from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

import torch

logger = logging.getLogger(__name__)

SMALL, LARGE = "triton", "triton_kernels"
NEVER = 1 << 62
"""A threshold that no batch reaches."""
Shape = Tuple[int, int]
"""(experts, hidden size): what TopK and the layer that it routes for both know of each other."""


class Thresholds(NamedTuple):
    """From how many tokens on triton_kernels is taken: in eager calls, and in those that a CUDA graph captures."""

    eager: int
    graph: int


NONE = Thresholds(NEVER, NEVER)
THRESHOLDS: Dict[Shape, Thresholds] = {}
"""Of every adaptive layer of this process."""
CALLS: Dict[str, int] = {SMALL: 0, LARGE: 0}
"""Layer calls that Python made; the replay of a CUDA graph makes none."""


def settled(shape: Shape, found: Thresholds) -> None:
    """Every layer of one shape has the same thresholds; of two that differ, the larger one serves both."""
    THRESHOLDS[shape] = Thresholds(*map(max, found, THRESHOLDS.get(shape, found)))


def takes_large(hidden_states: torch.Tensor, router_logits: torch.Tensor) -> bool:
    """Does this batch go to triton_kernels? Of a shape that no adaptive layer has, none does."""
    if torch.compiler.is_compiling():
        # A compiled graph serves many sizes, and triton_kernels' routing cannot be traced.
        return False
    tokens, hidden = hidden_states.shape
    found = THRESHOLDS.get((router_logits.shape[1], hidden), NONE)
    return tokens >= (found.graph if for_a_graph() else found.eager)


def for_a_graph() -> bool:
    """Is a CUDA graph captured, or does SGLang make the calls before a capture, in which all it holds is compiled?"""
    # Not imported, since the runner imports the layers.
    runner = sys.modules.get("sglang.srt.model_executor.cuda_graph_runner")
    return torch.cuda.is_current_stream_capturing() or (runner is not None and runner.is_capture_mode)


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
            logger.info("Adaptive MoE %s: %d tokens take %s; thresholds %s.",
                        self.shape, tokens, backend, told(THRESHOLDS.get(self.shape)))  # fmt: skip


def told(found: Optional[Thresholds]) -> str:
    """Thresholds in words."""
    if found is None:
        return "not settled"
    eager, graph = ("never" if one >= NEVER else str(one) for one in found)
    return f"{eager}, in graphs {graph}"


@contextmanager
def unseen() -> Iterator[None]:
    """Calls made inside are neither counted nor told: those of a measurement."""
    Log.muted = True
    try:
        yield
    finally:
        Log.muted = False
