"""`status`: every node, rank and port looked at once and together, within seconds. Changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.command import Result
from deploy.launch import load
from deploy.launch.evidence import Head, Health, Seen
from deploy.launch.load import Load, Sample
from deploy.launch.standing import Limits, judge
from deploy.launch.symptom import Rule
from deploy.remote import look
from deploy.remote.execute import Fleet
from deploy.remote.http import Endpoint
from deploy.remote.look import Look
from deploy.report import ClusterStatus, RankStatus
from deploy.workflow.probe import look as look_at_use
from deploy.workflow.ready import current_load, endpoint

LOGIN = 3.5
"""Seconds for a login: an answer is wanted soon, and a node that takes longer is as good as away."""
PATIENCE = 2.5
"""Seconds for an answer over HTTP; SGLang looks for a health answer once a second."""
AGAIN = 1.2
"""Seconds between two load samples, where requests run."""
FIRST = 0.4
"""Seconds by which rank 0's load goes ahead of its health check, which is a request too."""
_PROMPT = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 12, "temperature": 0}}


class Told(NamedTuple):
    """What rank 0 alone tells: samples as they came, and a short text where nothing else ran."""

    samples: tuple[Sample, ...] = ()
    text: str | None = None


def status(document: Document, environ: Mapping[str, str]) -> ClusterStatus:
    """The state of the cluster as it is now. A node that cannot be reached is a rank of which nothing is known."""
    cluster = document.cluster
    key = environ.get(cluster.api_key, "") if cluster.api_key else ""
    with closing(Fleet(_impatient(cluster))) as fleet:
        fleet.open()
        sampled = threading.Event()
        told = fleet.call(partial(_head, fleet, endpoint(fleet, cluster, 0, key), sampled))
        health = {rank: fleet.call(partial(_health, fleet, cluster, rank, sampled)) for rank in fleet.ranks}
        results = fleet.each(dict.fromkeys(fleet.ranks, look.command(cluster.name)))
        refused = {rank: error.message for rank, error in fleet.reach().items()}
        away = {rank: refused.get(rank) or one.tail(1) for rank, one in results.items() if not one.ok}
        looks = {rank: look.read(rank, one.stdout) for rank, one in results.items() if one.ok}
        seen = [_seen(cluster, rank, looks.get(rank), away, health[rank]) for rank in range(len(cluster.nodes))]
        return _status(cluster, seen, _completed(told.result(), looks), results)


def _impatient(cluster: Cluster) -> Cluster:
    ssh = cluster.ssh.model_copy(update={"connect_timeout": min(cluster.ssh.connect_timeout, LOGIN)})
    return cluster.model_copy(update={"ssh": ssh})


def _health(fleet: Fleet, cluster: Cluster, rank: int, sampled: threading.Event) -> Health:
    if not fleet.entered(rank):
        return Health(0, "not asked")
    if rank == 0:
        sampled.wait(FIRST)
    began = time.monotonic()
    answer = endpoint(fleet, cluster, rank).get("/health", PATIENCE)
    return Health(answer.status, "" if answer.status else _silence(answer.body), time.monotonic() - began)


def _silence(error: str) -> str:
    """Why no answer came, in words of ours for what is common."""
    if "Connect failed" in error or "refused" in error:
        return "its port is closed"
    return "timed out" if "time" in error.lower() else error


def _head(fleet: Fleet, head: Endpoint, sampled: threading.Event) -> Told:
    """Sample the load, again where requests run; where none do, read a short text."""
    if not fleet.entered(0):
        return Told()
    first = _sample(head)
    sampled.set()
    if first.load and first.requests:
        time.sleep(AGAIN)
        return Told((first, _sample(head)))
    return Told((first,), _text(head) if first.load else None)


def _sample(head: Endpoint) -> Sample:
    found = current_load(head, PATIENCE)
    return Sample(time.monotonic(), found)


def _text(head: Endpoint) -> str | None:
    """What rank 0 makes of a few words; None where that does not come soon."""
    answer = head.post("/generate", _PROMPT, PATIENCE)
    return load.generated(answer.body) if answer.ok else None


def _seen(cluster: Cluster, rank: int, found: Look | None, away: Mapping[int, str], health: Future[Health]) -> Seen:
    host = cluster.nodes[rank].host
    if found is None:
        return Seen(rank, host, away=away.get(rank) or "it gave no answer")
    return Seen(rank, host, "", found.pulse, found.lines, health.result(), found.watts)


def _completed(told: Told, looks: Mapping[int, Look]) -> Head:
    """The samples with what the nodes said beside them."""
    head = looks.get(0)
    batch = head.batch if head else None
    age = head.pulse.clock - batch.at if head and batch else None
    watts = tuple(value for one in looks.values() for value in one.watts)
    samples = tuple(replace(one, watts=watts, batch_age=age) for one in told.samples)
    return Head(samples, batch, told.text)


def _status(cluster: Cluster, seen: list[Seen], head: Head, results: Mapping[int, Result]) -> ClusterStatus:
    watch = cluster.watch
    limits = Limits(watch.loading_minutes * 60, watch.hang_seconds, Rule(watch.wedge_seconds, watch.wedge_watts))
    standings = judge(seen, head, limits)
    used = look_at_use(cluster, {one.rank: results[one.rank] for one in seen if one.up})
    ranks = tuple(RankStatus.of(one, standing) for one, standing in zip(seen, standings.ranks, strict=True))
    return ClusterStatus(cluster.name, standings.whole, ranks, _last_load(head), used.tables, used.nccl, used.network)


def _last_load(head: Head) -> Load | None:
    return head.samples[-1].load if head.samples else None
