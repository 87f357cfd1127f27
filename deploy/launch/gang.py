"""The ranks as one: ready together, failed when one is gone. A pure fold over observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.launch.health import Gone, Observation, RankState, observe


@dataclass(frozen=True)
class Gang:
    """Every rank's state."""

    ranks: Mapping[int, RankState]

    @staticmethod
    def of(size: int) -> Gang:
        return Gang({rank: RankState() for rank in range(size)})

    def after(self, seen: Observation) -> Gang:
        return Gang({**self.ranks, seen.rank: observe(self.ranks[seen.rank], seen)})

    @property
    def gone(self) -> tuple[Gone, ...]:
        """The ranks that are gone, the first to go first: the others follow it, and may be noticed before it."""
        found = [state.gone for state in self.ranks.values() if state.gone]
        return tuple(sorted(found, key=lambda one: one.finished.rstrip("Z") or "~"))

    @property
    def ready(self) -> bool:
        return all(state.phase == "ready" for state in self.ranks.values())

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(rank for rank, state in self.ranks.items() if state.phase != "ready")


def verdict(gang: Gang, name: str) -> str:
    """Why a gang failed, for people: who went first, how, and its last lines."""
    if not gang.gone:
        phases = ", ".join(f"rank {rank} {gang.ranks[rank].phase}" for rank in gang.waiting)
        return f"{name}: not ready in time: {phases}"
    first = gang.gone[0]
    lines = "\n".join(f"    {line}" for line in gang.ranks[first.rank].lines[-15:]) or "    (no output)"
    return f"{name}: rank {first.rank} {_ending(first)}; its last lines:\n{lines}"


def _ending(gone: Gone) -> str:
    if gone.code is None:
        return f"can no longer be seen ({gone.reason})"
    return f"exited with code {gone.code}" + (f" ({gone.reason})" if gone.reason else "")
