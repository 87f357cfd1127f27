"""The lines of a log that the toolkit and the stand-in rely on, read from text; it opens no log itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Name, expression; a group becomes the detail. The wording differs between SGLang versions, the meaning does not.
LINES = (
    ("init-begin", r"Init torch distributed begin\."),
    ("nccl-version", r"NCCL version"),
    ("nccl-ib", r"NET/IB : (Using|No device found)"),
    ("nccl-socket", r"NET/Socket : (Using)"),
    ("nccl-network", r"Using network (\w+)"),
    ("nccl-complete", r"Init COMPLETE"),
    ("init-end", r"Init torch distributed ends\."),
    ("load-begin", r"Load weight begin\."),
    ("shards", r"Loading safetensors checkpoint shards:\s+\d+% Completed"),
    ("load-end", r"Load weight end\..*?\btype=(\w+)"),
    ("kv-cache", r"KV Cache is allocated\."),
    ("pool-end", r"Memory pool end\."),
    ("graph-begin", r"(?i)Capture (?:target verify |decode |(draft \w+|draft) )?cuda graph begin\."),
    (
        "table-default",
        r"Using (?:default MoE|MoE kernel config with down_moe=False).*not found at \S*/(triton_\w+/\S+?\.json)",
    ),
    ("table-fallback", r"Fallback to triton version (\S+)"),
    ("table", r"Using MoE kernel config from \S*/(triton_\w+/\S+\.json)"),
    ("graph-end", r"(?i)Capture (?:target verify |decode |(draft \w+|draft) )?cuda graph end\."),
    ("tokens", r"max_total_num_tokens="),
    ("worker-ready", r"Dummy health check server started in background thread at"),
    ("http", r"Uvicorn running on"),
    ("ready", r"The server is fired up and ready to roll!"),
    ("health-failed", r"Health check failed\. Server couldn't get a response from detokenizer"),
    ("exception", r"Scheduler hit an exception"),
    ("sigquit", r"SIGQUIT received|Received sigquit from a child process"),
    ("draining", r"Gracefully exiting"),
)
PATTERNS = tuple((name, re.compile(expression)) for name, expression in LINES)
# NCCL says these once a communicator, a shard line comes many times: the first is what counts.
ONCE = frozenset({"nccl-version", "nccl-ib", "nccl-socket", "nccl-network", "nccl-complete", "shards"})


@dataclass(frozen=True)
class Milestone:
    """A recognised line: what it is, when it was read (seconds from the start), and its detail if it has one."""

    name: str
    at: float
    detail: str = ""


def recognise(text: str, at: float) -> Milestone | None:
    """The milestone that a line is, or None."""
    for name, pattern in PATTERNS:
        if found := pattern.search(text):
            detail = next((group for group in found.groups() if group), "")
            return Milestone(name, round(at, 2), detail)
    return None


def milestones(lines: Iterable[tuple[float, str]]) -> list[Milestone]:
    """All milestones of a log in its order; those of `ONCE` only the first time."""
    seen: set[str] = set()
    found = []
    for at, text in lines:
        milestone = recognise(text, at)
        if milestone and not (milestone.name in ONCE and milestone.name in seen):
            seen.add(milestone.name)
            found.append(milestone)
    return found


def start(order: Sequence[Milestone]) -> list[Milestone]:
    """The milestones up to the line that says this rank is ready, or all of them where none does."""
    ends = [index for index, milestone in enumerate(order) if milestone.name in ("ready", "worker-ready")]
    return list(order[: ends[0] + 1] if ends else order)
