"""The ranks as one: ready together, failed when one is gone. A pure fold over observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.launch.health import Gone, Observation, RankState, observe


@dataclass(frozen=True)
class Gang:
    """Every rank's state; `first_gone` names the rank that went first, since the others follow it."""

    ranks: Mapping[int, RankState]
    first_gone: int | None = None

    @staticmethod
    def of(size: int) -> Gang:
        return Gang({rank: RankState() for rank in range(size)})

    def after(self, seen: Observation) -> Gang:
        state = observe(self.ranks[seen.rank], seen)
        first = seen.rank if isinstance(seen, Gone) and self.first_gone is None else self.first_gone
        return replace(self, ranks={**self.ranks, seen.rank: state}, first_gone=first)

    @property
    def ready(self) -> bool:
        return all(state.phase == "ready" for state in self.ranks.values())

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(rank for rank, state in self.ranks.items() if state.phase != "ready")


def verdict(gang: Gang, name: str) -> str:
    """Why a gang failed, for people: who went first, how, and its last lines."""
    if gang.first_gone is None:
        phases = ", ".join(f"rank {rank} {gang.ranks[rank].phase}" for rank in gang.waiting)
        return f"{name}: not ready in time: {phases}"
    state = gang.ranks[gang.first_gone]
    lines = "\n".join(f"    {line}" for line in state.lines[-15:]) or "    (no output)"
    return f"{name}: rank {gang.first_gone} {_ending(state.gone)}; its last lines:\n{lines}"


def _ending(gone: Gone | None) -> str:
    if gone is None or gone.code is None:
        return f"can no longer be seen ({gone.reason if gone else 'unknown'})"
    return f"exited with code {gone.code}" + (f" ({gone.reason})" if gone.reason else "")
