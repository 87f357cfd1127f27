"""What rank 0 says of its load, and nvidia-smi of power: requests, tokens, watts. Reads what came; asks for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATHS = ("/get_load", "/v1/loads")
"""Where rank 0 tells its load, in the order to try.

SGLang 0.5.4 has the first alone, and its scheduler answers: one that is stuck gives no answer. Newer ones (0.5.14)
answer both from the last snapshot of the scheduler, so a stuck one shows the same numbers for ever; there the first is
deprecated, and logs a warning. `/get_server_info` goes the way of the first, and tells of no requests.
"""
POWER = ("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits")
BATCHES = re.compile(r"\b(?:Decode|Prefill) batch\b")
"""A line that rank 0 logs for each prefill, and for each 40 steps of decoding; by none it says that nothing runs."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?$")


@dataclass(frozen=True)
class Load:
    """Requests of all data-parallel ranks together; `source` is the path that answered.

    `tokens` are those in the KV cache or waiting for it: they move with every token that is generated.
    """

    source: str
    running: int
    waiting: int
    tokens: int


@dataclass(frozen=True)
class Sample:
    """One look at a server: `at` in seconds of this machine's monotonic clock, `load` None where rank 0 gave no answer.

    `watts` are those of every GPU that could be read. `batch_age` is for how many seconds rank 0 has logged no batch,
    None where that is not known.
    """

    at: float
    load: Load | None
    watts: tuple[float, ...] = ()
    batch_age: float | None = None

    @property
    def requests(self) -> int:
        """Requests that run or wait; none are known of without an answer."""
        return self.load.running + self.load.waiting if self.load else 0


def read(path: str, body: str) -> Load | None:
    """The load from the body of an answer of 200; None where it is none."""
    try:
        found = json.loads(body)
        ranks = found["loads"] if isinstance(found, dict) else found
        counts = [_counts(rank) for rank in ranks]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not counts:
        return None
    running, waiting, tokens = (sum(column) for column in zip(*counts, strict=True))
    return Load(path, running, waiting, tokens)


def _counts(rank: Mapping[str, Any]) -> tuple[int, int, int]:
    """Running, waiting, tokens of one data-parallel rank, in the words of either path."""
    waiting = int(rank["num_waiting_reqs"])
    if "num_reqs" in rank:
        return int(rank["num_reqs"]) - waiting, waiting, int(rank["num_tokens"])
    return int(rank["num_running_reqs"]), waiting, int(rank["num_used_tokens"])


def watts(lines: str) -> tuple[float, ...]:
    """Watts of each GPU from nvidia-smi's lines; one that cannot say (`[N/A]`) is left out."""
    return tuple(float(line) for line in map(str.strip, lines.splitlines()) if _NUMBER.match(line))


def generated(body: str) -> str | None:
    """The text in an answer of `/generate`; None where there is none."""
    try:
        return str(json.loads(body)["text"])
    except (ValueError, LookupError, TypeError):
        return None
