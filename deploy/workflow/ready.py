"""From started to ready: logs followed and health asked, until every rank answers. Asks for no text."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.errors import NotReadyError
from deploy.event import Event, RankPhase
from deploy.launch.gang import Gang, verdict
from deploy.launch.health import Gone, Healthy, Line, Observation
from deploy.launch.plan import Plan
from deploy.launch.sglang import server_flags, server_port
from deploy.remote.execute import Fleet
from deploy.remote.http import Endpoint

POLL = 1.0
# Rank 0 generates a token for each health answer, and gives up on it after 20 s.
HEALTH_TIMEOUT = 25.0
# The first real request compiles kernels: 75 to 110 s were seen.
SMOKE_TIMEOUT = 300.0
FOREVER = float("inf")
# Seconds to look around once a rank is gone: the one that went first may be noticed after those that followed it.
LOOK_AROUND = 1.5


def endpoint(fleet: Fleet, cluster: Cluster, rank: int, key: str = "") -> Endpoint:
    """A rank's HTTP port, reached on its own node; all but health and metrics ask for the API key, if there is one."""
    host = str(server_flags(cluster).get("host", "127.0.0.1"))
    local = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host
    return Endpoint(fleet.sessions[rank], local, server_port(cluster), key)


def wait_until_ready(fleet: Fleet, cluster: Cluster, todo: Plan, timeout: float) -> Iterator[Event]:
    """Follow every rank until all are ready. Raises NotReadyError as soon as one is gone, or after `timeout` s."""
    seen: queue.Queue[Observation] = queue.Queue()
    for rank, name in enumerate(todo.containers):
        fleet.call(lambda rank=rank, name=name: _follow(fleet, rank, name, seen))  # type: ignore[misc]
        fleet.call(lambda rank=rank: _ask_health(fleet, cluster, rank, seen))  # type: ignore[misc]
        yield RankPhase(rank, fleet.nodes[rank].host, "starting")
    gang, deadline = Gang.of(len(todo.containers)), time.monotonic() + timeout
    while not gang.ready:
        left = deadline - time.monotonic()
        found = _next(seen, min(left, 1.0))
        if found:
            after = gang.after(found)
            yield from _changes(fleet, gang, after)
            gang = after
        if left <= 0 or gang.gone:
            raise _failed(cluster, gang, seen)


def _next(seen: queue.Queue[Observation], timeout: float) -> Observation | None:
    try:
        return seen.get(timeout=max(timeout, 0.01))
    except queue.Empty:
        return None


def _changes(fleet: Fleet, before: Gang, after: Gang) -> Iterator[Event]:
    for rank, state in after.ranks.items():
        if (state.phase, state.detail) != (before.ranks[rank].phase, before.ranks[rank].detail):
            yield RankPhase(rank, fleet.nodes[rank].host, state.phase, state.detail)


def _failed(cluster: Cluster, gang: Gang, seen: queue.Queue[Observation]) -> NotReadyError:
    time.sleep(LOOK_AROUND if gang.gone else 0)
    while not seen.empty():
        gang = gang.after(seen.get())
    hint = "read more with `logs --rank N`"
    return NotReadyError(verdict(gang, cluster.name), hint)


def _follow(fleet: Fleet, rank: int, name: str, seen: queue.Queue[Observation]) -> None:
    """Hand on a rank's log lines, and its end."""
    command = Command(container.logs(name, follow=True), loose=True, timeout=FOREVER)
    result = fleet.submit(rank, command, lambda r, line: seen.put(Line(r, line))).result()
    if not fleet.stopping:
        seen.put(_ending(fleet, rank, name, result.tail(1)))


def _ending(fleet: Fleet, rank: int, name: str, last: str) -> Gone:
    result = fleet.submit(rank, Command(container.inspect(name))).result()
    if not result.ok:
        return Gone(rank, None, result.tail(1) or last)
    state = json.loads(result.stdout)
    if state["Running"]:
        return Gone(rank, None, f"its log broke off: {last}")
    reason = "out of memory" if state["OOMKilled"] else str(state.get("Error", ""))
    return Gone(rank, int(state["ExitCode"]), reason, state["FinishedAt"])


def _ask_health(fleet: Fleet, cluster: Cluster, rank: int, seen: queue.Queue[Observation]) -> None:
    port = endpoint(fleet, cluster, rank)
    while not fleet.stopping:
        if port.get("/health", HEALTH_TIMEOUT).ok:
            seen.put(Healthy(rank))
            return
        time.sleep(POLL)
