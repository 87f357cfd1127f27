"""The batch sizes that a server's settings make, by what makes them. Pure: flags in, sizes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.kernels.table import TOKENS

CHUNK = 8192
"""chunked-prefill-size on a GPU with 60 to 160 GB; GB10 counts as one."""
CAPTURED = 512
"""cuda-graph-max-bs there, from tp 4 on."""
EAGLE_RUNNING = 48
"""max-running-requests where speculation is on and the flag is not given."""


@dataclass(frozen=True)
class Batch:
    """Sizes in tokens, ascending; `every` where all from the first to the last occur, not only those that are named."""

    name: str
    sizes: tuple[int, ...]
    every: bool = False


def batches(flags: Mapping[str, Any]) -> tuple[Batch, ...]:
    """What a server with these launch flags gives to its experts. Source: SGLang 0.5.4's server_args and EAGLE."""
    draft, top_k = _whole(flags, "speculative-num-draft-tokens"), _whole(flags, "speculative-eagle-topk")
    eagle = bool(flags.get("speculative-algorithm"))
    running = _whole(flags, "max-running-requests") or (EAGLE_RUNNING if eagle else CAPTURED)
    chunk = min(_whole(flags, "chunked-prefill-size") or CHUNK, TOKENS)
    captured = _captured(flags, running, eagle=eagle)
    found = [Batch("prefill", (1, chunk), every=True)]
    if not eagle or not draft:
        return (*found, Batch("decode", (1, running), every=True), Batch("decode, captured", captured))
    return (
        *found,
        Batch(f"EAGLE verify, {draft} draft tokens", _times(range(1, running + 1), draft)),
        Batch("EAGLE verify, captured", _times(captured, draft)),
        Batch(f"EAGLE draft, top-k {top_k or 1}", _times(range(1, running + 1), top_k or 1)),
    )


def _whole(flags: Mapping[str, Any], name: str) -> int:
    """A flag's value, 0 where it is not given or says to leave it off."""
    found = flags.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def _times(sizes: range | tuple[int, ...], factor: int) -> tuple[int, ...]:
    return tuple(size * factor for size in sizes)


def _captured(flags: Mapping[str, Any], running: int, *, eagle: bool) -> tuple[int, ...]:
    """Requests for which a CUDA graph is captured: SGLang's list, cut off, with the largest batch in it."""
    given = flags.get("cuda-graph-bs")
    if isinstance(given, list):
        sizes = {size for size in given if isinstance(size, int)}
    else:
        most = _whole(flags, "cuda-graph-max-bs") or CAPTURED
        sizes = {size for size in (_eagle_sizes(most) if eagle else _plain_sizes(most)) if size <= most}
    if sizes and max(sizes) > running:
        sizes.add(running)
    return tuple(sorted(size for size in sizes if 0 < size <= running))


def _eagle_sizes(most: int) -> list[int]:
    ranges = range(1, 9), range(10, 33, 2), range(40, 65, 4), range(72, 257, 8), range(272, most + 1, 16)
    return [size for one in ranges for size in one]


def _plain_sizes(most: int) -> list[int]:
    return [1, 2, 4, 8, 12, *range(16, 257, 8), *range(272, 512, 16), *range(512, most + 1, 32)]
