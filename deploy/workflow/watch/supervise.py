"""`up --watch` and `watch run`: one life of the gang after the other, each watched to its end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from deploy.cluster.load import Document
from deploy.errors import ConfigError, DeployError, LockedError, NotReadyError
from deploy.event import Event
from deploy.launch.watch.bounds import Go, Stop
from deploy.launch.watch.cause import LAUNCH
from deploy.launch.watch.scene import Scene
from deploy.launch.watch.trouble import Trouble, planned
from deploy.workflow.asked import api_key
from deploy.workflow.up import Options, up
from deploy.workflow.watch.attend import attend
from deploy.workflow.watch.incidents import Kept
from deploy.workflow.watch.post import Post, now, told
from deploy.workflow.watch.recover import await_restart, handle

PAUSES = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before a restart is tried again that began nothing."""
_RANK = re.compile(r"\brank (\d+)\b")


@dataclass
class Asked:
    """`load` reads the cluster's file; `service`: goes on when there is nothing to watch."""

    load: Callable[[], Document]
    environ: Mapping[str, str]
    holder: str
    service: bool = False
    _last: Document | None = None

    def read(self) -> Document:
        """The cluster as its file says now; while somebody edits it into a file that is none, as it said before."""
        try:
            self._last = self.load()
        except ConfigError:
            if self._last is None:
                raise
        return self._last

    def post(self) -> Post:
        document = self.read()
        return Post(document.cluster, self.holder, api_key(document, self.environ), watches=True)


def up_and_watch(asked: Asked, options: Options) -> Iterator[Event]:
    """`up`, then watch. A launch that fails is kept as an incident, and is not tried again: nothing ever served."""
    try:
        yield from up(asked.read(), asked.environ, options)
    except NotReadyError as error:
        kept = yield from _failed(asked, error)
        where = f"; logs and facts of every rank: {kept.folder}" if kept else ""
        raise NotReadyError(error.message, error.hint + where) from None
    yield from watch(asked, answered=True)


def watch(asked: Asked, *, answered: bool = False) -> Iterator[Event]:
    """Attend, take down, restart within bounds. Ends when the ranks were removed on purpose; a service then waits.

    Raises NotReadyError where no restart is left; a service then waits for the next `up`.
    """
    try:
        while (again := (yield from _life(asked, answered=answered))) is not None:
            answered = again
    except KeyboardInterrupt:
        yield told("stopped", "the watch ends; the ranks are left as they are")
        raise


def _life(asked: Asked, *, answered: bool) -> Generator[Event, None, bool | None]:
    """One life of the gang. Whether the next has answered already; None: nothing is left to watch."""
    with closing(asked.post()) as post:
        yield from _present(asked, post)
        yield told("watching", f"watching {post.cluster.name}: {len(post.cluster.nodes)} ranks")
        ending = yield from attend(post, answered=answered)
        if ending.found is None:
            yield told("planned", "the ranks were removed on purpose: nothing to watch any more")
            return False if asked.service else None
        kept = yield from handle(post, ending.scene, ending.found)
        if kept is None:
            return False
    return (yield from _restart(asked, kept))


def _present(asked: Asked, post: Post) -> Iterator[Event]:
    """A service waits until there is something to watch."""
    scene, said = post.scene(), False
    while asked.service:
        scene = post.look(scene)
        if any(pulse.ranks for pulse in scene.pulses.values()):
            return
        if planned(scene, time.monotonic()) and not said:
            said = True
            yield told("waiting", f"{post.cluster.name} has no ranks: waiting for the next `up`")


def _restart(asked: Asked, kept: Kept) -> Generator[Event, None, bool | None]:
    """Until the gang serves again, somebody else acts, or the bounds are reached."""
    pauses, removed = list(PAUSES), False
    while True:
        with closing(asked.post()) as post:
            kept, decision = yield from await_restart(post, kept, removed=removed)
            if decision is None:
                return False
            if isinstance(decision, Stop):
                return (yield from _given_up(asked, post, kept, decision))
        kept = kept.save(kept.incident.restarted(now()))
        try:
            yield from _started(asked, kept, decision, removed=removed)
            return True
        except LockedError:
            kept.save(kept.incident.taken_back())
            return False
        except NotReadyError as error:
            again = yield from _failed(asked, error)
            if again is None:
                return False
            kept, removed = again, False
        except DeployError as error:
            kept, removed = yield from _not_begun(asked, kept, error)
            time.sleep(pauses.pop(0) if len(pauses) > 1 else pauses[0])


def _started(asked: Asked, kept: Kept, decision: Go, *, removed: bool) -> Iterator[Event]:
    document = asked.read()
    timeout = document.cluster.watch.loading_minutes * 60
    options = Options(timeout, asked.holder, after=() if removed else tuple(kept.incident.gang))
    count = f"restart {decision.number} of {decision.most} within {document.cluster.watch.window_hours:g} h"
    yield told("restarting", count)
    try:
        yield from up(document, asked.environ, options)
    except KeyboardInterrupt:
        kept.save(replace(kept.incident, outcome="interrupted"))
        raise
    kept.save(replace(kept.incident, outcome="restarted"))
    yield told("restarted", f"{document.cluster.name} serves again", None, str(kept.folder))


def _failed(asked: Asked, error: NotReadyError) -> Generator[Event, None, Kept | None]:
    """The incident of a launch that did not come to its end."""
    with closing(asked.post()) as post:
        scene = yield from _heard(post)
        text = error.message.splitlines()[0].removesuffix("; its last lines:")
        found = _RANK.search(text)
        return (yield from handle(post, scene, Trouble(LAUNCH, int(found[1]) if found else None, text)))


def _heard(post: Post) -> Generator[Event, None, Scene]:
    """Until every node was heard, or has had its time."""
    scene = post.scene()
    while len(scene.pulses) < len(scene.nodes) and time.monotonic() - scene.began < 4:
        scene = post.look(scene)
    yield from ()
    return scene


def _not_begun(asked: Asked, kept: Kept, error: DeployError) -> Generator[Event, None, tuple[Kept, bool]]:
    """A try that failed before any rank of its own ran does not count. With whether it removed the old ranks."""
    yield told("trouble", f"the restart failed: {error.message}")
    with closing(asked.post()) as post:
        scene = yield from _heard(post)
    found = {rank: pulse.container.started for rank, pulse in scene.pulses.items() if pulse.container}
    if kept.incident.same_gang(found):
        return kept.save(kept.incident.taken_back()), False
    return kept.save(replace(kept.incident, outcome="down")), not found


def _given_up(asked: Asked, post: Post, kept: Kept, decision: Stop) -> Generator[Event, None, bool | None]:
    kept = kept.save(replace(kept.incident, outcome="given-up"))
    yield told("given-up", decision.text, None, str(kept.folder))
    if not asked.service:
        hint = f"see {kept.folder}, mend the cause, and run `up --watch` again"
        raise NotReadyError(f"{post.cluster.name}: {decision.text}; the last cause: {kept.incident.cause.text}", hint)
    yield told("waiting", "waiting for the next `up`")
    scene = post.scene()
    while not scene.running or scene.holder:
        scene = post.look(scene)
    return False
