"""`logs`: what the ranks say. Changes nothing."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing

from deploy import container
from deploy.cluster.load import Document
from deploy.command import Command, Result
from deploy.errors import ConfigError
from deploy.event import LogLine
from deploy.launch.plan import rank_name
from deploy.remote.execute import Fleet
from deploy.workflow.ready import FOREVER


def logs(document: Document, rank: int | None, *, follow: bool, tail: int | None) -> Iterator[LogLine]:
    """Lines of one rank or of all. Raises RemoteError where a rank has no container."""
    cluster = document.cluster
    if rank is not None and not 0 <= rank < len(cluster.nodes):
        raise ConfigError(f"{cluster.name} has ranks 0 to {len(cluster.nodes) - 1}, not {rank}", "see `status`")
    wanted = tuple(range(len(cluster.nodes))) if rank is None else (rank,)
    lines: queue.Queue[LogLine] = queue.Queue()
    with closing(Fleet(cluster, wanted)) as fleet:
        fleet.connect()
        running: dict[int, Future[Result]] = {}
        for one in wanted:
            argv = container.logs(rank_name(cluster, one), follow=follow, tail=tail)
            command = Command(argv, loose=True, timeout=FOREVER if follow else 120)
            running[one] = fleet.submit(one, command, lambda r, text: lines.put(LogLine(r, text)))
        while wait(running.values(), timeout=0.1).not_done or not lines.empty():
            while not lines.empty():
                yield lines.get()
        fleet.finish(running)
