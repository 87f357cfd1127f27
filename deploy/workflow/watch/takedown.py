"""Ends every rank that can be reached, at once, and gathers what tells why. Starts nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from deploy.command import Result
from deploy.errors import LockedError, RemoteError
from deploy.event import Event
from deploy.launch.node import RunningRank
from deploy.launch.plan import rank_name
from deploy.launch.takedown import halt
from deploy.launch.watch.evidence import Evidence, free_disk, killed_by_kernel, sections
from deploy.launch.watch.scene import Scene
from deploy.launch.watch.when import epoch
from deploy.remote import evidence as probe
from deploy.remote import facts
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock
from deploy.workflow.watch.post import Post, told


@dataclass(frozen=True)
class Left:
    """What one rank left behind: evidence for the cause, its log as it was (None: not had), and text for people."""

    evidence: Evidence
    log: bytes | None = None
    text: str = ""


@dataclass(frozen=True)
class Down:
    """How a take-down ended, by rank. `held_by`: another run is at work, and nothing more was done."""

    left: Mapping[int, Left] = field(default_factory=dict)
    held_by: str = ""

    @property
    def empty(self) -> bool:
        """Every node answered, and none has a container: they were removed on purpose meanwhile."""
        known = [one.evidence for one in self.left.values() if not one.evidence.lost and not one.evidence.engine]
        return bool(known) and all(one.container is None for one in known)


def take_down(post: Post, scene: Scene, ranks: Iterable[int]) -> Generator[Event, None, Down]:
    """Kill what runs on these nodes and gather it all, under their locks; a node that refuses is left out."""
    wanted = tuple(ranks)
    lost: dict[int, Left] = {}
    while wanted:
        with closing(Fleet(post.cluster, wanted)) as fleet:
            fleet.open()
            try:
                with lock(fleet, post.holder, then=dict.fromkeys(wanted, halt(post.cluster.name))) as held:
                    before = held.results
                    yield told("down", _told(post, before))
                    return Down({**lost, **_gathered(post, fleet, scene, before)})
            except LockedError as error:
                return Down(held_by=error.message.splitlines()[-1].strip())
            except RemoteError:
                refused = fleet.reach()
                lost |= {rank: Left(Evidence(rank, lost=error.message)) for rank, error in refused.items()}
                wanted = tuple(rank for rank in wanted if rank not in lost) if refused else ()
    return Down(lost)


def _told(post: Post, results: Mapping[int, Result]) -> str:
    said = {rank: facts.keyed(result.stdout) for rank, result in results.items()}
    alive = [post.host(rank) for rank, lines in said.items() if "alive" in lines or not results[rank].ok]
    dark = [post.host(rank) for rank, lines in said.items() if "docker_error" in lines]
    text = f"every rank is down on {', '.join(post.host(rank) for rank in said if post.host(rank) not in alive + dark)}"
    more = [f"{host} may still run its rank" for host in (*alive, *dark)]
    return "; ".join((text, *more))


def _gathered(post: Post, fleet: Fleet, scene: Scene, before: Mapping[int, Result]) -> dict[int, Left]:
    names = {rank: rank_name(post.cluster, rank) for rank in before}
    logs = fleet.begin({rank: probe.log(name) for rank, name in names.items()})
    seen = fleet.each({rank: probe.facts(name) for rank, name in names.items()})
    return {
        rank: _left(scene, rank, result, seen[rank], probe.read_log(logs[rank].result()))
        for rank, result in before.items()
    }


def _left(scene: Scene, rank: int, halted: Result, seen: Result, log: bytes | None) -> Left:
    lines, parts = facts.keyed(halted.stdout), sections(seen.stdout)
    if halted.code is None:
        return Left(Evidence(rank, lost=halted.tail(1) or "it did not answer"))
    found = next((one for one in facts.ranks(lines) if one.rank == rank), None)
    clock = float(facts.first(lines, "clock") or 0)
    proof = Evidence(
        rank,
        container=found,
        finished=_finished(scene, rank, found, clock),
        engine=facts.first(lines, "docker_error"),
        log=tuple((log or b"").decode(errors="replace").splitlines()),
        kernel=killed_by_kernel(parts.get("kernel", ""), parts.get("id", "")),
        disk_free=free_disk(parts.get("disk", "")),
    )
    return Left(proof, log if found else None, seen.stdout)


def _finished(scene: Scene, rank: int, found: RunningRank | None, clock: float) -> float | None:
    """When it ended by itself, by our clock; the node's own may be another."""
    if found is None or found.state not in ("exited", "dead"):
        return None
    node = scene.nodes[rank]
    return node.finished(found) if node.pulse else epoch(found.since) - (clock - time.monotonic())


def unreachable(rank: int, why: str) -> Left:
    return Left(Evidence(rank, lost=why))


def files(left: Left) -> dict[str, bytes]:
    """The files of one rank in an incident's folder."""
    rank, found = left.evidence.rank, {}
    if left.log is not None:
        found[f"rank{rank}.log"] = left.log
    if left.text:
        container = left.evidence.container
        before = json.dumps(vars(container), indent=2) if container else "none"
        found[f"rank{rank}.txt"] = f"### as it was found\n{before}\n{left.text}".encode()
    return found
