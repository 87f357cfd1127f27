"""Ending what a launch began, over new connections where the old ones broke; says where that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.command import Command, Result
from deploy.remote.execute import Fleet
from deploy.remote.lock import Lock

REVIVE_SECONDS = 10.0
UNDO_SECONDS = 25.0
"""Seconds for one attempt on one node: Docker kills at once, but an engine may hang."""
_BAD = ("docker_error ", "alive ")


@dataclass(frozen=True)
class Undone:
    """How the command ended on each node, and why its ranks may still run, by rank."""

    results: Mapping[int, Result]
    left: Mapping[int, str]


def undo(fleet: Fleet, held: Lock, command: Command) -> Undone:
    """Run `command` on every node, and once more where it failed, after a new login and with the lock taken again."""
    bounded = replace(command, timeout=min(command.timeout, UNDO_SECONDS))
    results = fleet.each(dict.fromkeys(fleet.ranks, bounded))
    left = _left(results)
    away = {rank: error.message for rank, error in fleet.revive(left, REVIVE_SECONDS).items()}
    taken = held.retake(set(left) - set(away))
    again = {rank: bounded for rank in left if rank not in away and rank not in taken}
    second = fleet.each(again)
    return Undone({**results, **second}, {**away, **taken, **_left(second)})


def _left(results: Mapping[int, Result]) -> dict[int, str]:
    """Where it is not known that nothing runs any more, and why."""
    return {rank: why for rank, result in results.items() if (why := _problem(result))}


def _problem(result: Result) -> str:
    if result.ok:
        return next((line for line in result.stdout.splitlines() if line.startswith(_BAD)), "")
    return result.tail(1) or f"exit code {result.code}"


def told(fleet: Fleet, left: Mapping[int, str]) -> str:
    """Lines about the nodes that may still run something; empty where there are none."""
    lines = [f"\n  {fleet.nodes[rank].host}: may still run its rank: {why}" for rank, why in sorted(left.items())]
    return "".join(lines) + ("\n  run `down` when they are back" if lines else "")
