"""The ranks as one: ready together, failed when one is gone. A pure fold over observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from deploy.launch.health import Gone, Observation, RankState, observe
from deploy.launch.watch.marks import followed

JUDGED_AT_ONCE = 2


@dataclass(frozen=True)
class Gang:
    """Every rank's state. `floor`: memory that a node should keep available, in bytes."""

    ranks: Mapping[int, RankState]
    floor: float = 0.0

    @staticmethod
    def of(size: int, floor: float = 0.0) -> Gang:
        return Gang({rank: RankState() for rank in range(size)}, floor)

    def after(self, seen: Observation) -> Gang:
        return replace(self, ranks={**self.ranks, seen.rank: observe(self.ranks[seen.rank], seen, self.floor)})

    def expecting(self, ranks: Iterable[int], *, running: bool = False) -> Gang:
        """From now on these ranks have a container. `running`: they have had it for a while."""
        begin = JUDGED_AT_ONCE if running else 0
        return replace(self, ranks={**self.ranks, **{rank: replace(self.ranks[rank], judged=begin) for rank in ranks}})

    @property
    def started(self) -> bool:
        """A rank is expected to run."""
        return any(state.judged >= 0 for state in self.ranks.values())

    @property
    def gone(self) -> tuple[Gone, ...]:
        """The ranks that are gone, the first to go first: the others follow it, and may be noticed before it."""
        found = [state.gone for state in self.ranks.values() if state.gone]
        return tuple(sorted(found, key=lambda one: (self._followed(one), one.at)))

    def _followed(self, gone: Gone) -> bool:
        """It ended by itself, and says that another one went before."""
        return gone.code is not None and followed(self.ranks[gone.rank].lines)

    @property
    def ready(self) -> bool:
        return all(state.phase == "ready" for state in self.ranks.values())

    @property
    def waiting(self) -> tuple[int, ...]:
        return tuple(rank for rank, state in self.ranks.items() if state.phase != "ready")

    @property
    def low(self) -> tuple[int, ...]:
        """Ranks that are not ready yet, and whose node has less memory available than it should keep."""
        return tuple(rank for rank in self.waiting if self.ranks[rank].judged >= 0 and self._is_low(rank))

    def _is_low(self, rank: int) -> bool:
        return 0 < self.ranks[rank].available < self.floor


def verdict(gang: Gang, name: str) -> str:
    """Why a gang failed, for people: who went first, how, and its last lines."""
    if not gang.gone:
        return f"{name}: not ready in time: {_standing(gang)}"
    first = gang.gone[0]
    lines = "\n".join(f"    {line}" for line in gang.ranks[first.rank].lines[-15:]) or "    (no output)"
    return f"{name}: rank {first.rank} {ending(first)}; its last lines:\n{lines}"


def _standing(gang: Gang) -> str:
    """Where each rank stands; one that never began to join while others wait for it is named first."""
    phases = ", ".join(f"rank {rank} {gang.ranks[rank].phase}" for rank in gang.waiting)
    late = [rank for rank in gang.waiting if gang.ranks[rank].phase == "starting"]
    if not late or len(late) == len(gang.ranks):
        return phases
    return f"{' and '.join(f'rank {rank}' for rank in late)} never joined, and the others wait for that; {phases}"


def ending(gone: Gone) -> str:
    """How a rank went, in words that follow its name."""
    if gone.code is None:
        return f"is lost: {gone.reason}"
    return f"exited with code {gone.code}" + (f" ({gone.reason})" if gone.reason else "")
