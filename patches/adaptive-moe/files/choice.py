"""Which backend a batch takes, and how often each was taken. Holds thresholds by shape; measures and runs nothing."""

import logging
import sys
from contextlib import contextmanager
from typing import Dict, Iterator, NamedTuple, Optional, Set, Tuple

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


THRESHOLDS: Dict[Shape, Thresholds] = {}
"""Of every adaptive layer of this process."""
CALLS: Dict[str, int] = {SMALL: 0, LARGE: 0}
"""Layer calls that Python made; the replay of a CUDA graph makes none."""


def settled(shape: Shape, found: Thresholds) -> None:
    """Every layer of one shape has the same thresholds; of two that differ, the larger one serves both."""
    THRESHOLDS[shape] = Thresholds(*map(max, found, THRESHOLDS.get(shape, found)))


def takes_large(hidden_states: torch.Tensor, router_logits: torch.Tensor) -> bool:
    """Does this batch go to triton_kernels? Of a shape that no adaptive layer has, none does."""
    tokens, hidden = hidden_states.shape
    found = THRESHOLDS.get((router_logits.shape[1], hidden))
    if found is None:
        return False
    eager, graph = tokens >= found[0], tokens >= found[1]
    # Mostly both say the same, and to ask whether it is for a graph costs as much as all else here.
    return eager if eager == graph or not for_a_graph() else graph


def for_a_graph() -> bool:
    """Is a CUDA graph captured, or does SGLang make the calls before a capture, in which all it holds is compiled?"""
    # Not imported, since the runner imports the layers.
    runner = sys.modules.get("sglang.srt.model_executor.cuda_graph_runner")
    return torch.cuda.is_current_stream_capturing() or (runner is not None and runner.is_capture_mode)


class Log:
    """Counts the calls of one layer's backends, and says the first one of each backend and shape."""

    untold: Dict[Shape, Set[str]] = {}
    muted = False

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.left = Log.untold.setdefault(shape, {SMALL, LARGE})

    def called(self, backend: str, tokens: int) -> None:
        """Not where a graph is captured: what is recorded there is run later, and not by Python."""
        if Log.muted or torch.cuda.is_current_stream_capturing():
            return
        CALLS[backend] += 1
        if backend in self.left:
            self.left.remove(backend)
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
