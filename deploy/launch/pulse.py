"""What a node says of itself every second while its rank is watched: values, without a way to get them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.launch.node import RunningRank

INTERVAL = 1.0
"""Seconds between two pulses of a node."""


@dataclass(frozen=True)
class Pulse:
    """One node at one moment.

    `at` is this machine's monotonic clock and `clock` the node's own, both in seconds; `memory_available` is in bytes.
    `ranks` are the containers of the cluster on this node, running or not; `docker_error` says why they are not known.
    `holder` is who holds the cluster's lock there, or empty.
    """

    rank: int
    at: float
    clock: float
    memory_available: int
    ranks: tuple[RunningRank, ...] = ()
    docker_error: str = ""
    holder: str = ""

    @property
    def container(self) -> RunningRank | None:
        """This node's own rank."""
        return next((one for one in self.ranks if one.rank == self.rank), None)


@dataclass(frozen=True)
class Silent:
    """A node from which nothing comes any more, and why, as far as it is known."""

    rank: int
    at: float
    why: str
