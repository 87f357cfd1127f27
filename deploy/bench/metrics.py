"""From answers to figures, and from repeats to medians with their spread; measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt
from statistics import mean, median, stdev

from deploy.bench.reading import Answer
from deploy.bench.results import Better, Figure, Repeat

CHUNKS_AS_TOKENS = "chunks_as_tokens_per_s"
"""Wrong, and kept to show by how much: stream chunks counted as if each were a token."""
FIGURES: dict[str, tuple[str, Better]] = {
    "ttft_s": ("s", "lower"),
    "decode_tok_s": ("tok/s", "higher"),
    "prefill_tok_s": ("tok/s", "higher"),
    "total_s": ("s", "lower"),
    "chunk_gap_s": ("s", "lower"),
    "chunks": ("chunks", "neither"),
    "tokens_per_chunk": ("tokens", "neither"),
    "prompt_tokens": ("tokens", "neither"),
    "completion_tokens": ("tokens", "neither"),
    "cached_tokens": ("tokens", "neither"),
    "accept_length": ("tokens", "higher"),
    "accept_rate": ("share", "higher"),
    "request_rate_s": ("requests/s", "higher"),
    "input_tok_s": ("tok/s", "higher"),
    "output_tok_s": ("tok/s", "higher"),
    "ttft_p99_s": ("s", "lower"),
    "tpot_s": ("s", "lower"),
    "itl_s": ("s", "lower"),
    "itl_p99_s": ("s", "lower"),
    "concurrency": ("requests", "neither"),
    "served": ("share", "higher"),
    "launch_s": ("s", "lower"),
    "a_s": ("s", "lower"),
    "b_s": ("s", "lower"),
    "b_over_a": ("ratio", "lower"),
    CHUNKS_AS_TOKENS: ("chunks/s, wrongly called tok/s", "neither"),
    "thought_chars": ("characters", "neither"),
    "turn": ("number", "neither"),
    "turns": ("turns", "higher"),
    "reply_s": ("s", "lower"),
    "correct": ("share", "higher"),
    "step_s": ("s", "lower"),
    "step_at_zero_s": ("s", "lower"),
    "step_per_1k_tokens_s": ("s", "lower"),
    "bandwidth_efficiency": ("share", "higher"),
}
"""Unit of every figure, and which way is better."""
SHARES = ("correct", "served")
"""Figures that are 0 or 1 in a repeat: their share, with Wilson's interval, stands where others have a median."""
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t at 97.5 %, by the number of values."""
Z = 1.96
LEAST_DECODED = 16
"""Tokens after the first chunk from which a speed is told: a parser that holds a call back sends it all at its end."""
MEDIAN_TO_MEAN = 1.2533
"""Standard error of the median by that of the mean, for many normal values: for few it is a little less."""


def figures(answer: Answer) -> dict[str, float]:
    """What one sound answer tells. Speeds of decoding need two chunks, and times a stream."""
    tokens = answer.completion_tokens
    found: dict[str, float] = {"total_s": answer.seconds}
    found |= {"prompt_tokens": answer.prompt_tokens, "completion_tokens": tokens}
    if answer.cached_tokens is not None:
        found["cached_tokens"] = answer.cached_tokens
    if answer.times:
        first = answer.times[0]
        found |= {"ttft_s": first, "chunks": len(answer.times), "tokens_per_chunk": tokens / len(answer.times)}
    return found | _decoding(answer)


def _decoding(answer: Answer) -> dict[str, float]:
    """Between the first chunk and the last token. Where the server does not count as it goes, the first chunk is taken
    for one of the mean size."""
    count = len(answer.times)
    seconds = answer.ended - answer.times[0] if answer.times else 0.0
    if count < 2 or seconds <= 0:
        return {}
    before = answer.completion_tokens / count if answer.first_tokens is None else answer.first_tokens
    gaps = [after - earlier for earlier, after in zip(answer.times, answer.times[1:], strict=False)]
    decoded = answer.completion_tokens - before
    return ({"decode_tok_s": decoded / seconds} if decoded >= LEAST_DECODED else {}) | {
        "chunk_gap_s": median(gaps),
        CHUNKS_AS_TOKENS: (count - 1) / seconds,
    }


def summary(repeats: Sequence[Repeat]) -> dict[str, Figure]:
    """Each figure over the repeats that were good and have it."""
    good = [repeat.figures for repeat in repeats if repeat.ok]
    names = dict.fromkeys(name for one in good for name in one)
    return {name: _figure(name, [one[name] for one in good if name in one]) for name in names}


def _figure(name: str, values: list[float]) -> Figure:
    unit, better = FIGURES[name]
    if name in SHARES:
        return Figure(unit, mean(values), *share_interval(sum(values), len(values)), len(values), better)
    return Figure(unit, median(values), *interval(values), len(values), better)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median: by ranks, which supposes nothing, or of Student's where five or fewer
    values could not give one. A single value has none, and gives itself."""
    ordered, n = sorted(values), len(values)
    if n == 1:
        return ordered[0], ordered[0]
    if n in STUDENT:
        half = STUDENT[n] * MEDIAN_TO_MEAN * stdev(ordered) / sqrt(n)
        return max(0.0, median(ordered) - half), median(ordered) + half  # no figure is below zero
    below = _rank(n)
    return ordered[below], ordered[-1 - below]


def _rank(n: int) -> int:
    """How many values may be left out at each end: the chance that the median lies beyond is 2.5 % at most."""
    chance, count = 0.0, 0
    while chance + comb(n, count) / 2**n <= 0.025:
        chance += comb(n, count) / 2**n
        count += 1
    return count - 1


def share_interval(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    middle, width = (hits + Z**2 / 2) / (n + Z**2), Z / (n + Z**2) * sqrt(hits * (n - hits) / n + Z**2 / 4)
    return max(0.0, middle - width), min(1.0, middle + width)
