"""From started to ready: logs followed and health asked, until every rank answers. Asks for no text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.errors import NotReadyError
from deploy.event import Event, RankPhase
from deploy.launch import load
from deploy.launch.gang import verdict
from deploy.launch.health import Healthy, Line
from deploy.launch.load import Load
from deploy.launch.plan import Plan
from deploy.launch.sglang import server_flags, server_port
from deploy.remote.execute import Fleet
from deploy.remote.http import Endpoint
from deploy.workflow.lookout import Lookout
from deploy.workflow.renewal import Renewal
from deploy.workflow.shards import ShardRelease

POLL = 1.0
# Rank 0 generates a token for each health answer, and gives up on it after 20 s.
HEALTH_TIMEOUT = 25.0
# The first real request compiles kernels: 75 to 110 s were seen.
SMOKE_TIMEOUT = 300.0
FOREVER = float("inf")


def endpoint(fleet: Fleet, cluster: Cluster, rank: int, key: str = "") -> Endpoint:
    """A rank's HTTP port, reached on its own node; all but health and metrics ask for the API key, if there is one."""
    host = str(server_flags(cluster).get("host", "127.0.0.1"))
    local = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host
    return Endpoint(fleet.sessions[rank], local, server_port(cluster), key)


def current_load(head: Endpoint, timeout: float) -> Load | None:
    """What rank 0 says of its load, at the first path that it knows; None where it gives no answer in time."""
    for path in load.PATHS:
        answer = head.get(path, timeout)
        if answer.status != 404:
            return load.read(path, answer.body) if answer.ok else None
    return None


def wait_until_ready(lookout: Lookout, todo: Plan, timeout: float) -> Iterator[Event]:
    """Follow every rank until all are ready. Raises NotReadyError as soon as one is gone, or after `timeout` s."""
    lookout.expect(range(len(todo.containers)), running=not todo.steps)
    follow = partial(_follow, lookout, todo.containers)
    if lookout.held:
        lookout.renewal = Renewal(lookout.fleet, lookout.held, lookout.seen.put, follow)
    for rank in range(len(todo.containers)):
        follow(rank)
        lookout.fleet.call(lambda rank=rank: _ask_health(lookout, rank))  # type: ignore[misc]
        yield RankPhase(rank, lookout.fleet.nodes[rank].host, "starting")
    release, deadline = ShardRelease(lookout.fleet, lookout.cluster, todo.containers), time.monotonic() + timeout
    try:
        while not lookout.gang.ready:
            left = deadline - time.monotonic()
            for event in lookout.turn(min(max(left, 0.01), 1.0)):
                yield event
                release.hear(event)
            if left <= 0:
                raise NotReadyError(verdict(lookout.gang, lookout.cluster.name), "read more with `logs --rank N`")
    finally:
        release.stop()
    yield from release.told()


def _follow(lookout: Lookout, names: Sequence[str], rank: int, since: float = 0.0) -> None:
    """Hand on a rank's log lines, all or those of the last `since` seconds. Its end is told by pulses."""
    command = Command(container.logs(names[rank], follow=True, since=since), loose=True, timeout=FOREVER)
    lookout.fleet.submit(rank, command, lambda rank, text: lookout.seen.put(Line(rank, text)))


def _ask_health(lookout: Lookout, rank: int) -> None:
    port = endpoint(lookout.fleet, lookout.cluster, rank)
    while not lookout.fleet.stopping:
        if port.get("/health", HEALTH_TIMEOUT).ok:
            lookout.seen.put(Healthy(rank))
            return
        time.sleep(POLL)
