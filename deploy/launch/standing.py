"""Serving, loading, degraded, wedged, down or unknown: the state of each rank and of the whole, from evidence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deploy.duration import duration
from deploy.launch.evidence import Head, Seen, moment, shown
from deploy.launch.node import RunningRank
from deploy.launch.symptom import Rule, garbage, wedged

EXIT_CODES = {"serving": 0, "loading": 10, "degraded": 11, "wedged": 12, "down": 13, "unknown": 14}
"""Every state, and what `status` exits with for it."""
PREFILL = 256
"""Tokens of a prompt from which on a step may take seconds; a health check's own request reads one."""


@dataclass(frozen=True)
class Standing:
    """A state of EXIT_CODES, since when (RFC 3339 in UTC by the node's clock; empty where not known), and why."""

    state: str
    since: str = ""
    why: str = ""


@dataclass(frozen=True)
class Limits:
    """Seconds that a start may take, seconds that a busy rank 0 may be silent for, and when requests stand still."""

    loading: float
    hang: float
    wedge: Rule


@dataclass(frozen=True)
class Standings:
    """The whole, and each rank in its order; the whole serves exactly where every rank does."""

    whole: Standing
    ranks: tuple[Standing, ...]


def judge(seen: Sequence[Seen], head: Head, limits: Limits) -> Standings:
    """The state of a gang, from every node's evidence in rank order and what rank 0 alone tells."""
    alone = [_rank(one, limits) for one in seen]
    alone[0] = _head(alone[0], seen[0], head, limits)
    holder = next((one.pulse.holder for one in seen if one.pulse and one.pulse.holder), "")
    whole = _whole(alone, seen, holder)
    ranks = tuple(_beside(one, whole, alone) for one in alone)
    return Standings(replace(whole, why=_with_holder(whole.why, holder)), ranks)


def _rank(seen: Seen, limits: Limits) -> Standing:
    """One rank by itself."""
    if seen.away or seen.pulse is None:
        return Standing("unknown", "", f"node {seen.host}: {seen.away or 'it said nothing'}")
    if seen.pulse.docker_error:
        return Standing("unknown", "", f"the Docker Engine of {seen.host} does not answer: {seen.pulse.docker_error}")
    container = seen.pulse.container
    if container is None:
        return Standing("down", "", "no container")
    since = shown(moment(container.since))
    if container.state == "running":
        return _running(seen, container, limits)
    if container.state in ("paused", "restarting"):
        return Standing("degraded", since, f"its container is {container.state}")
    return Standing("down", since, ending(container))


def ending(container: RunningRank) -> str:
    """How a container that does not run came to that, in a few words."""
    if container.state == "created":
        return f"its container was made and never started: {container.error or 'no reason is given'}"
    if container.out_of_memory:
        return f"out of memory (exit code {container.exit_code})"
    return f"exit code {container.exit_code}" + (f": {container.error}" if container.error else "")


def _running(seen: Seen, container: RunningRank, limits: Limits) -> Standing:
    start, began = seen.start, moment(container.since)
    if seen.up:
        return _ready(seen, shown(start.since or began))
    clock = seen.pulse.clock if seen.pulse else 0.0
    seconds = clock - began if began else 0.0
    what = f"{start.phase} {start.detail}".strip()
    if seconds > limits.loading:
        return Standing("degraded", shown(began), f"loading for {duration(seconds)}, still {what}")
    return Standing("loading", shown(began), what)


def _ready(seen: Seen, since: str) -> Standing:
    """A rank that was ready once: it serves as long as its health port says so."""
    if seen.health.ok:
        return Standing("serving", since)
    if seen.health.status:
        return Standing("degraded", "", f"was ready since {since}; its health port says {seen.health.status}")
    waited = f" in {seen.health.seconds:.0f} s" if seen.health.seconds else ""
    return Standing(
        "degraded", "", f"was ready since {since}; no answer from its health port{waited}: {seen.health.why}"
    )


def _head(alone: Standing, seen: Seen, head: Head, limits: Limits) -> Standing:
    """Rank 0, by what it alone tells: green health does not make a server well, nor does a slow answer make it ill."""
    if alone.state not in ("serving", "degraded") or seen.pulse is None:
        return alone
    if not seen.up or seen.start.phase != "ready":
        return alone
    stuck = wedged(head.samples, limits.wedge)
    if stuck:
        return Standing("wedged", shown(seen.pulse.clock - stuck.seconds), stuck.text)
    if alone.state == "serving":
        why = garbage(head.text) if head.text and head.text.strip() else ""
        return Standing("degraded", "", f"it generates garbage: {why}") if why else alone
    busy = "" if seen.health.status else _busy(seen.pulse.clock, head, limits)
    since = shown(seen.start.since)
    if busy:
        return Standing("serving", since, f"its health port is slow ({busy})")
    return replace(alone, since=shown(head.batch.at) if head.batch else "")


def _busy(clock: float, head: Head, limits: Limits) -> str:
    """Why a health port may take its time, or an empty string."""
    load = head.samples[-1].load if head.samples else None
    if load:
        return f"requests: {load.running} running, {load.waiting} waiting"
    age = clock - head.batch.at if head.batch else limits.hang
    if head.prefill >= PREFILL and age < limits.hang:
        return f"a prefill of {head.prefill} tokens, begun {duration(age)} ago"
    return ""


def _whole(alone: Sequence[Standing], seen: Sequence[Seen], holder: str) -> Standing:
    """The gang by its worst rank; what is behind the others' trouble comes first."""
    ranks = {state: [rank for rank, one in enumerate(alone) if one.state == state] for state in EXIT_CODES}
    if len(ranks["serving"]) == len(alone):
        return Standing("serving", max(one.since for one in alone), alone[0].why)
    if len(ranks["down"]) + len(ranks["unknown"]) == len(alone):
        return _none_runs(alone, seen, holder)
    for state in ("down", "unknown", "wedged", "degraded"):
        if ranks[state] and not (state == "down" and _coming(ranks[state], seen, holder)):
            since = min((alone[rank].since for rank in ranks[state] if alone[rank].since), default="")
            why = _ends(alone, seen, ranks[state]) if state == "down" else _named(alone, ranks[state])
            return Standing("wedged" if state == "wedged" else "degraded", since, why)
    since = min((one.since for one in alone if one.state in ("serving", "loading") and one.since), default="")
    return Standing("loading", since, _named(alone, [*ranks["loading"], *ranks["down"]]))


def _none_runs(alone: Sequence[Standing], seen: Sequence[Seen], holder: str) -> Standing:
    """No rank is known to run: down only where that is known of every one."""
    ranks = range(len(alone))
    unknown = [rank for rank in ranks if alone[rank].state == "unknown"]
    if unknown:
        ended = [rank for rank in ranks if rank not in unknown]
        also = f"; {_ends(alone, seen, ended)}" if ended else ""
        return Standing("unknown", "", _named(alone, unknown) + also)
    if _coming(ranks, seen, holder):
        return Standing("loading", "", "no rank has been started yet")
    if not any(_container(one) for one in seen):
        return Standing("down", "", "no rank has a container: taken down as planned, or never started")
    since = min(one.since for one in alone if one.since) if any(one.since for one in alone) else ""
    return Standing("down", since, _ends(alone, seen, ranks))


def _ends(alone: Sequence[Standing], seen: Sequence[Seen], ranks: Sequence[int]) -> str:
    """How ranks came to be down, and which of several was the first."""
    ended = sorted((rank for rank in ranks if _container(seen[rank])), key=lambda rank: -_ended_for(seen[rank]))
    return (f"rank {ended[0]} ended first; " if len(ended) > 1 else "") + _named(alone, ended or ranks)


def _ended_for(seen: Seen) -> float:
    """Seconds since a container ended, by its own node's clock: the clocks of two nodes may differ."""
    container = _container(seen)
    finished = moment(container.since) if container else None
    return seen.pulse.clock - finished if seen.pulse and finished else 0.0


def _coming(ranks: Sequence[int], seen: Sequence[Seen], holder: str) -> bool:
    """Whether ranks that are down are about to be started: another run is at work, and it is one that starts them."""
    if not holder or holder.startswith(("`down`", "`tune`")):
        return False
    found = [_container(seen[rank]) for rank in ranks]
    return all(one is None or (one.state == "created" and not one.error) for one in found)


def _container(seen: Seen) -> RunningRank | None:
    return seen.pulse.container if seen.pulse else None


def _named(alone: Sequence[Standing], ranks: Sequence[int]) -> str:
    """The reasons of some ranks, each by its rank; equal ones once."""
    by_why: dict[str, list[int]] = {}
    for rank in ranks:
        by_why.setdefault(alone[rank].why, []).append(rank)
    who = {why: f"rank{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}" for why, of in by_why.items()}
    return "; ".join(f"{who[why]}: {why or 'ready'}" for why in by_why)


def _beside(alone: Standing, whole: Standing, ranks: Sequence[Standing]) -> Standing:
    """A rank as part of the gang: one that is ready serves only where all do."""
    if alone.state == "down" and whole.state == "loading":
        return Standing("loading", "", "not started yet")
    if alone.state != "serving" or whole.state == "serving":
        return alone
    if whole.state == "loading":
        return Standing("loading", alone.since, "ready, waits for the others")
    bad = [other for other, one in enumerate(ranks) if one.state not in ("serving", "loading")]
    return Standing("degraded", "", f"it runs, and can serve nothing without rank {', '.join(map(str, bad))}")


def _with_holder(why: str, holder: str) -> str:
    at_work = f"{holder}, is at work" if holder else ""
    return "; ".join(part for part in (why, at_work) if part)
