"""The lines by which SGLang, PyTorch, NCCL, Triton and Python tell why a rank ends, by cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A line that tells of a cause; `text` is the cause in words."""

    kind: str
    text: str
    pattern: re.Pattern[str]


def _mark(kind: str, text: str, *patterns: str) -> Mark:
    return Mark(kind, text, re.compile("|".join(patterns), re.IGNORECASE))


ROOTS = (
    _mark(
        "out-of-shared-memory",
        "a Triton kernel asks for more shared memory than the GPU has",
        r"OutOfResources: out of resource: shared memory",
    ),
    _mark(
        "out-of-memory",
        "out of GPU memory",
        r"CUDA out of memory",
        r"CUDA error: out of memory",
        r"CUDA_ERROR_OUT_OF_MEMORY",
        r"NV_ERR_NO_MEMORY",
        r"Not enough memory\. Please try to (?:in|de)crease --mem-fraction-static",
        r"The memory capacity is unbalanced",
    ),
    _mark(
        "out-of-memory",
        "out of memory of the node",
        r"^MemoryError\b",
        r"\[Errno 12\] Cannot allocate memory",
        r"DefaultCPUAllocator: can't allocate memory",
        r"std::bad_alloc",
    ),
    _mark("disk", "the disk is full", r"No space left on device", r"\bENOSPC\b"),
    _mark(
        "port-in-use",
        "a port is in use",
        r"address already in use",
        r"\bEADDRINUSE\b",
    ),
    _mark(
        "missing-weights",
        "the model's weights are missing or broken",
        r"Cannot find any model weights with",
        r"is not a local folder and is not a valid model identifier",
        r"LocalEntryNotFoundError",
        r"RepositoryNotFoundError",
        r"RevisionNotFoundError",
        r"Error while deserializing header",
        r"FileNotFoundError:.*\.safetensors",
        r"does not appear to have a file named",
    ),
    _mark(
        "rendezvous",
        "the ranks did not meet in time",
        r"client socket has timed out after",
        r"client socket has failed to connect",
        r"waiting for clients\. \d+/\d+ clients joined",
        r"waiting for the other ranks",
        r"wait timeout after \d+ms, keys:",
        r"Socket Timeout",
    ),
    _mark(
        "nccl",
        "NCCL gave up",
        r"Watchdog caught collective operation timeout",
        r"ncclSystemError",
        r"ncclRemoteError",
        r"ncclInternalError",
        r"ncclUnhandledCudaError",
        r"Got completion from peer .* with status=",
        r"NCCL (?:WARN|error).*(?:timed? ?out|Call to (?:ibv_|connect))",
        r"NCCL communicator was aborted",
    ),
    _mark(
        "gpu",
        "the GPU or its driver failed",
        r"an illegal memory access was encountered",
        r"CUDA error: (?:unspecified launch failure|device-side assert|misaligned address|uncorrectable ECC)",
        r"GPU has fallen off the bus",
        r"no CUDA-capable device is detected",
        r"CUDA driver version is insufficient",
    ),
    _mark("hang", "the scheduler hung, and SGLang's own watchdog ended it", r"Watchdog timeout \(self\."),
)
"""Causes of their own. A rank that names one of these is not ended by another's end."""

CONSEQUENCES = ("nccl", "rendezvous")
"""Unless it is the first rank to end that says so: then these follow from its end."""
FOLLOWED = re.compile(r"Connection (?:closed|reset) by peer|Broken pipe|Software caused connection abort")
"""What a rank says when another one, or the way to it, is gone."""
PEER = re.compile(r"(?:Connection closed by peer|Read error|Write error) \[?([0-9.]+)\]?:")
"""With the fabric address of the rank that was lost."""
JOINING = re.compile(r"Init torch distributed begin")
JOINED = re.compile(r"Init torch distributed ends")
EXCEPTION = re.compile(r"^(?:\[[^]]*\] )?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|OutOfResources|Interrupt)\b.*)")
"""The last line of a Python traceback."""
_LAST_LINES = 40


def followed(log: Sequence[str]) -> bool:
    """Whether a rank that ended by itself says that another one, or the way to it, went before it.

    Ranks follow each other within a tenth of a second, and nodes' clocks are known less well than that.
    """
    return any(FOLLOWED.search(line) for line in log[-_LAST_LINES:])
