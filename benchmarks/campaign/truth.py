"""What `status` may say, given what the kernel and the campaign know; in the words of `status`. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """The whole at one moment. `alive`: ids of running rank containers; `ready`: each of them answers its health port;
    `locked`: somebody is at work; `away`: nodes that cannot be asked; `hurt`: a rank was made to misbehave."""

    alive: frozenset[str]
    ranks: int
    ready: bool
    locked: bool
    away: int = 0
    hurt: bool = False
    doubtful: bool = False


def answers(before: Known, after: Known) -> tuple[str, ...] | None:
    """The answers that are true; None where the cluster changed while `status` looked, so that nothing can be said."""
    if (before.alive, before.ready, before.locked) != (after.alive, after.ready, after.locked):
        return None
    found = _plain(after)
    return (*found, "degraded", "unknown") if after.doubtful else found


def _plain(known: Known) -> tuple[str, ...]:
    if known.away:
        reachable = len(known.alive)
        return ("degraded", "wedged") if reachable else ("unknown",)
    if not known.alive:
        return ("down", "loading") if known.locked else ("down",)
    if known.hurt:
        return ("degraded", "wedged")
    if len(known.alive) < known.ranks:
        return ("degraded", "loading") if known.locked else ("degraded",)
    return ("serving",) if known.ready else ("loading",)
