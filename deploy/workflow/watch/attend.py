"""Watches running ranks until something is wrong or they were taken down on purpose. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from deploy.event import Event
from deploy.launch.node import gib
from deploy.launch.watch.scene import Scene
from deploy.launch.watch.trouble import Trouble, cut_off, planned, trouble
from deploy.workflow.watch.post import Post, told
from deploy.workflow.watch.probes import Probes


@dataclass(frozen=True)
class Ending:
    """What ended the watching: `found` is what is wrong, None where the ranks were removed on purpose."""

    scene: Scene
    found: Trouble | None


def attend(post: Post, *, answered: bool = False) -> Generator[Event, None, Ending]:
    """Until a Trouble, or a planned end. While another run holds the lock, nothing counts."""
    while True:
        with closing(Probes(post)):
            ending = yield from _watch(post, answered=answered)
        if ending is not None:
            return ending
        answered = False
        yield from stand_back(post)


def _watch(post: Post, *, answered: bool) -> Generator[Event, None, Ending | None]:
    """None: another run is at work."""
    scene, rules = post.scene(answered=answered), post.cluster.watch
    while True:
        before, scene = scene, post.look(scene)
        moment = time.monotonic()
        yield from _changes(post, before, scene)
        if cut_off(scene, moment):
            scene = yield from _cut_off(post, scene)
        if scene.holder:
            return None
        if planned(scene, moment):
            return Ending(scene, None)
        found = trouble(scene, rules, moment)
        if found:
            return Ending(scene, found)


def stand_back(post: Post) -> Iterator[Event]:
    """Until the lock is free on every node that is heard."""
    scene, who = post.scene(), ""
    while True:
        scene = post.look(scene)
        if scene.holder and not who:
            who = scene.holder
            yield told("standing-back", f"standing back: {who} is at work")
        settled = len(scene.pulses) == len(scene.nodes) or time.monotonic() - scene.began > 5
        if settled and not scene.holder:
            return


def _changes(post: Post, before: Scene, after: Scene) -> Iterator[Event]:
    for rank, node in after.nodes.items():
        old = before.nodes[rank]
        if node.lost and not old.lost:
            yield told("lost", f"{post.host(rank)}, rank {rank}: {node.lost}; logging in anew", rank)
        elif old.lost and not node.lost:
            yield told("back", f"{post.host(rank)}, rank {rank}: heard again", rank)
        yield from _memory(post, rank, before, after)


def _cut_off(post: Post, scene: Scene) -> Generator[Event, None, Scene]:
    """Until some node is heard; then every node has its time to be heard again."""
    yield told("lost", "no node can be heard: this machine may be cut off, and the ranks are left as they are")
    answered = scene.answered
    while cut_off(scene, time.monotonic()):
        scene = post.look(scene)
    yield told("back", "nodes are heard again; looking at all of them anew")
    return post.scene(answered=answered)


def _memory(post: Post, rank: int, before: Scene, after: Scene) -> Iterator[Event]:
    """Once each time that a node falls below its floor."""
    floor = post.cluster.watch.memory_floor
    new, old = after.pulses.get(rank), before.pulses.get(rank)
    was_low = old is not None and old.memory_available < floor
    if new is not None and 0 < new.memory_available < floor and not was_low:
        text = f"{post.host(rank)} has {gib(new.memory_available)} of memory left, below watch.memory_floor_gib"
        yield told("memory", text, rank)
