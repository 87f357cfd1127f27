"""`bench run`: suites against one server, one after another; what is finished is kept at once."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean

from deploy.bench.client import Target, request
from deploy.bench.facts import Facts, accept_length, flush, learn
from deploy.bench.results import Case, Client, Run, Server, as_csv, as_json
from deploy.bench.speculation import speculates
from deploy.bench.stage import Aside
from deploy.bench.suite import Setting, Suite, Wish, runner
from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.errors import BenchError
from deploy.event import Event, Note
from deploy.launch.sglang import server_port
from deploy.remote import look
from deploy.remote.execute import Fleet
from deploy.workflow.asked import api_key
from deploy.workflow.probe import look as look_at_use
from deploy.workflow.ready import endpoint
from deploy.workflow.stage import Stage, as_it_was

NOWHERE = "http://nowhere.invalid"
"""For suites that ask no server."""
ACCEPTED = "accept_length"
KNOCK = 3.0
"""Seconds that a node's port has to answer in before the way through SSH is taken."""


@dataclass(frozen=True)
class Place:
    """A server, and what is known of its nodes."""

    target: Target
    image: str = ""
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stage: Stage | None = None


@dataclass(frozen=True)
class Order:
    """What to measure and where to keep it. `model`: the name to ask for, or empty for the server's first.

    `own`: suites that are not in deploy.bench; they ask no server.
    """

    suites: tuple[str, ...]
    out: Path
    wish: Wish
    model: str = ""
    own: Mapping[str, Suite] = field(default_factory=dict)


@dataclass
class Record:
    """A run while it grows, and the file that it is kept in."""

    run: Run
    file: Path
    setting: Setting
    began: float = field(default_factory=time.monotonic)

    def keep(self, *cases: Case, complete: bool = False) -> None:
        """Take finished cases, and write all there is: JSON, and CSV beside it."""
        meter = self.setting.meter
        client = Client(socket.gethostname(), platform.python_version(), round(meter.us_per_chunk, 2), meter.bottleneck)
        seconds, cases = round(time.monotonic() - self.began, 3), (*self.run.cases, *cases)
        server = replace(self.run.server, accept_length=_accepted(cases, self.setting))
        self.run = replace(
            self.run, server=server, client=client, seconds=seconds, cases=list(cases), complete=complete
        )
        for suffix, text in ((".json", as_json(self.run)), (".csv", as_csv(self.run))):
            part = self.file.with_suffix(suffix + ".part")
            part.write_text(text, encoding="utf-8")
            part.replace(self.file.with_suffix(suffix))

    def note(self, text: str) -> None:
        self.run = replace(self.run, notes=[*self.run.notes, text])


def _accepted(cases: Iterable[Case], setting: Setting) -> float | None:
    """Over the answers that had their own count; else what the server says of all since the suite began."""
    own = [one.figures[ACCEPTED] for case in cases for one in case.repeats if one.ok and ACCEPTED in one.figures]
    if own or not setting.facts.flushes or not speculates(setting.facts):
        return mean(own) if own else None
    return accept_length(replace(setting.target, patience=KNOCK))


@contextmanager
def at_nodes(document: Document, environ: Mapping[str, str], patience: float, holder: str = "") -> Iterator[Place]:
    """The server of a running cluster, with its image and its tables. Raises ConfigError, RemoteError.

    `holder`: who takes the cluster's lock where a suite launches servers.

    Where rank 0's port answers from here it is asked directly, else through the SSH connection.
    """
    cluster, key = document.cluster, api_key(document, environ)
    with closing(Fleet(cluster)) as fleet:
        fleet.connect()
        results = fleet.each(dict.fromkeys(fleet.ranks, look.command(cluster.name)))
        pulses = [look.read(rank, one.stdout).pulse for rank, one in results.items() if one.ok]
        digests = sorted({pulse.container.digest for pulse in pulses if pulse.container})
        tables = tuple(one.text for one in look_at_use(cluster, results).tables)
        image = ", ".join(f"{cluster.image.repository}@{digest}" for digest in digests)
        target, note = _way(fleet, cluster, Target(_url(cluster), key, patience))
        yield Place(target, image, tables, (note,) if note else (), Stage(document, environ, holder))


def _url(cluster: Cluster) -> str:
    return f"http://{cluster.head.host}:{server_port(cluster)}"


def _way(fleet: Fleet, cluster: Cluster, direct: Target) -> tuple[Target, str]:
    """How to reach rank 0, and what must be known of that."""
    knocked = request(replace(direct, patience=KNOCK), "/health")
    if knocked.status:
        return direct, ""
    head = endpoint(fleet, cluster, 0)
    through = replace(direct, dial=lambda timeout: head.session.tunnel(head.host, head.port, timeout))
    return through, "measured through an SSH connection, which adds its own latency and CPU time to every chunk"


def bench(order: Order, place: Place) -> Generator[Event, None, list[Run]]:
    """Run the suites; the runs, also those that were cut short. Raises BenchError where the server cannot be used.

    Where a suite launched other servers, the first one is brought back, whatever happened.
    """
    facts = Facts(Server(""))
    if set(order.suites) - set(order.own):
        facts = learn(place.target, order.model)
        facts = replace(facts, server=replace(facts.server, image=place.image, tables=list(place.tables)))
        server = facts.server
        yield Note(f"{server.url}: {server.model} by {server.engine or 'an unnamed engine'} {server.version}".rstrip())
    order.out.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    for suite in order.suites:
        record = _record(suite, order, place, facts)
        if facts.flushes:
            flush(place.target)
        measured = _measured(record, order.own.get(suite) or runner(suite))
        runs.append((yield from as_it_was(measured, place.stage)))
        if not runs[-1].complete:
            break
    return runs


def _record(suite: str, order: Order, place: Place, facts: Facts) -> Record:
    now = datetime.now(UTC)
    setting = Setting(place.target, facts, order.wish, stage=place.stage)
    notes = list(place.notes)
    if not facts.counts and suite not in order.own:
        notes.append("the server counts tokens at the end only: the first chunk is taken for one of the mean size")
    began = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    run = Run(suite, began, 0.0, order.wish.seed, False, facts.server, Client(), notes)
    return Record(run, order.out / f"{suite}-{now:%Y%m%dT%H%M%S}.json", setting)


def _measured(record: Record, run: Suite) -> Generator[Event, None, Run]:
    """One suite to its end, or to where the server no longer lets itself be connected to."""
    suite, lost = record.run.suite, False
    try:
        with closing(run(record.setting)) as items:
            for item in items:
                if not isinstance(item, Case):
                    if isinstance(item, Note) and not _passing(item):
                        record.note(item.text)
                    yield item
                    continue
                record.keep(item)
                lost = any(repeat.kind == "refused" for repeat in item.repeats)
                if lost:
                    break
    except KeyboardInterrupt:
        yield Note(f"{suite}: interrupted after {len(record.run.cases)} cases, {_kept(record)}", "warning")
        raise
    if lost:
        record.note("the server was lost: it refused a connection, and the cases after that were not measured")
    if record.setting.meter.bottleneck:
        record.note("this side was the bottleneck: its Python used most of a core, so times may be late")
        yield Note(record.run.notes[-1], "warning")
    record.keep(complete=not lost)
    yield Note(f"{suite}: {len(record.run.cases)} cases, {_kept(record)}", "warning" if lost else "done")
    return record.run


def _passing(note: Note) -> bool:
    """Not for the results: what a launch says, and warnings of single repeats, which are in the repeats themselves."""
    return note.level == "warning" or isinstance(note, Aside)


def _kept(record: Record) -> str:
    return f"kept in {record.file}" if record.run.cases else "none of them finished"


def judge(runs: list[Run], out: Path) -> None:
    """Raises BenchError where a request failed or a suite did not come to its end."""
    for run in runs:
        for case in run.cases:
            for repeat in case.failed:
                what = f"{run.suite}: {run.failures} requests failed, the first in {case.name!r}: "
                hint = f"{out} keeps what is finished; failed requests are in no median"
                raise BenchError(f"{what}{repeat.kind}: {repeat.error}", hint)
    if not all(run.complete for run in runs):
        raise BenchError(f"{runs[-1].suite} did not come to its end", f"{out} keeps what is finished")
