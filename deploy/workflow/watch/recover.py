"""From a fault to the decision what comes next: the take-down, the incident's folder, and the wait until a restart may
begin. Starts nothing itself."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace

from deploy.event import Event
from deploy.launch.watch import bounds, cause
from deploy.launch.watch.bounds import Go, Stop
from deploy.launch.watch.cause import LAUNCH, Case
from deploy.launch.watch.incident import Incident, history
from deploy.launch.watch.scene import Scene
from deploy.launch.watch.trouble import SILENT_SECONDS, Trouble, leaving, planned
from deploy.workflow.watch.attend import stand_back
from deploy.workflow.watch.incidents import Incidents, Kept
from deploy.workflow.watch.post import Post, fresh, now, told
from deploy.workflow.watch.takedown import Down, Left, files, take_down, unreachable

SETTLE_SECONDS = 5.0


def handle(post: Post, scene: Scene, found: Trouble) -> Generator[Event, None, Kept | None]:
    """Take the gang down and keep the incident. None: somebody else is at work, or meant it."""
    yield told("trouble", _with_host(post, found), found.rank)
    down = yield from take_down(post, scene, fresh(scene))
    if down.held_by:
        yield told("standing-back", f"standing back: {down.held_by}")
        # Two watches that wait for equally long would be in each other's way again.
        time.sleep(random.uniform(0.2, 2.0))
        yield from stand_back(post)
        return None
    if down.empty:
        return None
    left = dict(down.left)
    scene = yield from _late_ones(post, scene, left)
    known = _known(post, left)
    kept = known or _new(post, found, left)
    _add(post, kept, left)
    if not known:
        yield told("incident", f"cause: {kept.incident.cause.text}", kept.incident.cause.rank, str(kept.folder))
        yield told("incident", f"logs and facts of every rank: {kept.folder}", None, str(kept.folder))
    return kept


def _with_host(post: Post, found: Trouble) -> str:
    where = f"{post.host(found.rank)}: " if found.rank is not None else ""
    return f"{where}{found.text}; " + ("gathering why" if found.kind == LAUNCH else "taking every rank down")


def _late_ones(post: Post, scene: Scene, left: dict[int, Left]) -> Generator[Event, None, Scene]:
    """Nodes that were not heard at the take-down: taken down as soon as they are, or known to be away."""
    while missing := [rank for rank in scene.nodes if rank not in left or left[rank].evidence.lost]:
        scene = post.look(scene)
        heard = [rank for rank in missing if rank in fresh(scene)]
        if heard:
            down = yield from take_down(post, scene, heard)
            left |= down.left
        away = {rank: node for rank, node in scene.nodes.items() if time.monotonic() - node.heard >= SILENT_SECONDS}
        left |= {rank: unreachable(rank, away[rank].lost or "it says nothing") for rank in missing if rank in away}
        if all(rank in away for rank in missing if rank not in heard):
            break
    return scene


def _gang(left: Mapping[int, Left]) -> dict[int, str]:
    found = {rank: one.evidence.container for rank, one in left.items()}
    return {rank: container.started for rank, container in found.items() if container}


def _known(post: Post, left: Mapping[int, Left]) -> Kept | None:
    """The incident of this very gang, where an earlier watch did not come to its end."""
    gang = _gang(left)
    return next((kept for kept in Incidents(post.cluster.name) if kept.incident.same_gang(gang)), None)


def _new(post: Post, found: Trouble, left: Mapping[int, Left]) -> Kept:
    fabric = {node.fabric: rank for rank, node in enumerate(post.cluster.nodes)}
    why = cause.name(Case(found, {rank: one.evidence for rank, one in left.items()}, fabric))
    store, moment, rules = Incidents(post.cluster.name), now(), post.cluster.watch
    past = history((kept.incident for kept in store), moment, rules.window_hours * 3600)
    missing = tuple(rank for rank, one in left.items() if one.log is None and one.evidence.expected)
    made = Incident(post.cluster.name, moment, why, found.text, _gang(left), missing, past)
    return store.begin(made)


def _add(post: Post, kept: Kept, left: Mapping[int, Left]) -> None:
    for one in left.values():
        for name, content in files(one).items():
            kept.add(name, content)
    rules = post.cluster.watch
    Incidents(post.cluster.name).prune(rules.incidents, rules.incidents_mib * 2**20)


def await_restart(post: Post, kept: Kept, *, removed: bool) -> Generator[Event, None, tuple[Kept, Go | Stop | None]]:
    """Until a restart may begin, or may not any more. None: the ranks run, or were removed on purpose.

    `removed`: the containers are gone by our own last try, which is no plan of anybody's.
    """
    scene, said = post.scene(), ""
    while True:
        scene = post.look(scene)
        if scene.holder:
            yield from stand_back(post)
            scene, removed = post.scene(), False
        if not _settled(scene) or (not removed and leaving(scene, time.monotonic())):
            continue
        if scene.running or (not removed and planned(scene, time.monotonic(), kept.incident.gang)):
            return (kept if scene.running else _ended(kept, "planned")), None
        fetched = yield from _fetch_missing(post, scene, kept)
        if fetched is not kept:
            kept = fetched
            continue  # that took seconds, in which somebody may have removed the ranks
        decision = _decide(post, scene, kept)
        if isinstance(decision, Go | Stop):
            return kept, decision
        yield from _once(said, decision.text)
        said = decision.text


def _settled(scene: Scene) -> bool:
    """Every node was heard, or has had its time to be."""
    return len(scene.pulses) == len(scene.nodes) or time.monotonic() - scene.began > SETTLE_SECONDS


def _once(said: str, text: str) -> Iterator[Event]:
    if text != said:
        yield told("waiting", f"no restart yet: {text}")


def _decide(post: Post, scene: Scene, kept: Kept) -> bounds.Decision:
    moment, heard = now(), fresh(scene)
    ages = [restart.age(moment) for restart in kept.incident.restarts]
    nodes = {rank: scene.pulses[rank] if rank in heard else None for rank in scene.nodes}
    return bounds.decide(post.cluster.watch, ages, nodes)


def _fetch_missing(post: Post, scene: Scene, kept: Kept) -> Generator[Event, None, Kept]:
    """A node that is back: its old rank goes, and its log comes, before anything may remove it."""
    heard = fresh(scene)
    back = [
        rank
        for rank in kept.incident.missing
        if rank in heard and not scene.pulses[rank].docker_error and scene.pulses[rank].container
    ]
    down = (yield from take_down(post, scene, back)) if back else Down()
    _add(post, kept, down.left)
    had = {rank for rank, one in down.left.items() if one.log is not None}
    if not had:
        return kept
    yield told("incident", f"logs of {', '.join(map(post.host, sorted(had)))}: {kept.folder}", None, str(kept.folder))
    left = tuple(rank for rank in kept.incident.missing if rank not in had)
    return kept.save(replace(kept.incident, missing=left, gang={**kept.incident.gang, **_gang(down.left)}))


def _ended(kept: Kept, outcome: str) -> Kept:
    return kept.save(replace(kept.incident, outcome=outcome))
