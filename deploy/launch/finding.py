"""What findings about running ranks have in common: level, text, cure, and the ranks that share them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

Key = TypeVar("Key")


class Finding(Protocol):
    """`level` as a Note's; `text` is one line; `cure` is what to do, or empty."""

    @property
    def level(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def cure(self) -> str: ...


def with_cure(finding: Finding) -> str:
    """Text, and the cure on a line of its own."""
    return finding.text + (f"\n  cure: {finding.cure}" if finding.cure else "")


def on_ranks(ranks: Sequence[int], of: int) -> str:
    """`4 of 4 ranks`; named where they are not all."""
    return f"{len(ranks)} of {of} ranks" + (f" ({', '.join(map(str, ranks))})" if len(ranks) < of else "")


def shared(by_rank: Mapping[int, Sequence[Key]]) -> list[tuple[Key, tuple[int, ...]]]:
    """Each distinct outcome with the ranks that share it, the most frequent first."""
    ranks: dict[Key, list[int]] = {}
    for rank, outcomes in sorted(by_rank.items()):
        for outcome in outcomes:
            ranks.setdefault(outcome, []).append(rank)
    pairs = [(outcome, tuple(who)) for outcome, who in ranks.items()]
    return sorted(pairs, key=lambda pair: (-len(pair[1]), pair[1]))
