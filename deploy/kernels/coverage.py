"""Which batch sizes a table was made for, and where its nearest entry is far or surprising. Judges no entry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from deploy.kernels.finding import Finding
from deploy.kernels.table import TOKENS, Table

FAR = 4
"""Neighbouring batch sizes that differ by more than this factor leave a gap, as do the ends."""


def coverage_findings(table: Table, prefill: int) -> Iterator[Finding]:
    """Gaps and surprises; findings without a file. `prefill` is the largest batch that is served."""
    keys = sorted(table.entries)
    yield from _ends(keys, prefill)
    for low, high in pairwise(keys):
        if high > FAR * low and high - low > FAR:
            message = f"no entry between {low} and {high}: {low + 1} to {high - 1} tokens take one of them"
            yield Finding("note", "gap", message, key=str(low), tokens=(low + 1, high - 1))
    taken = {span.key for span in table.spans}
    for key in keys:
        if key not in taken:
            message = f"is taken by no batch: SGLang gives a kernel {TOKENS:,} tokens at most"
            yield Finding("note", "unreachable", message, key=str(key))
    yield from _ties(table, keys)


def _ends(keys: list[int], prefill: int) -> Iterator[Finding]:
    first, last = keys[0], keys[-1]
    if last < prefill:
        level = "warning" if last * FAR < prefill else "note"
        message = f"is the largest batch size, and a prefill has up to {prefill:,} tokens: they take this entry"
        yield Finding(level, "short", message, key=str(last), tokens=(last + 1, prefill))
    if first > FAR:
        message = f"is the smallest batch size: a single request takes this entry, made for {first} tokens"
        yield Finding("warning", "no_small", message, "add entries from 1 on", key=str(first), tokens=(1, first - 1))


def _ties(table: Table, keys: list[int]) -> Iterator[Finding]:
    """In ascending files the smaller of two as near wins; elsewhere that is worth a word."""
    order = {key: place for place, key in enumerate(table.entries)}
    for low, high in pairwise(keys):
        middle, odd = divmod(low + high, 2)
        if not odd and order[high] < order[low] and table.entries[low] != table.entries[high]:
            message = f"{middle} tokens are as near to {low} and {high}, and take {high}: it stands first in the file"
            hint = "write the batch sizes in ascending order"
            yield Finding("note", "tie", message, hint, key=str(high), tokens=(middle, middle))
