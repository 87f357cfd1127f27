"""Views: folds over events, on stderr. A live table on a terminal, one plain line an event elsewhere, or JSON."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

import click

from deploy.duration import duration
from deploy.event import Event, LogLine, Note, Progress, RankPhase, Watched

T = TypeVar("T")


class View(Protocol):
    """Takes each event as it comes."""

    def show(self, event: Event) -> None: ...


class PlainView:
    """One line an event; repeated progress is thinned out to tenths."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def show(self, event: Event) -> None:
        line = plain(event)
        key, step = thinned(event)
        if self._last.get(key) != step:
            self._last[key] = step
            click.echo(line, err=True)


class JsonView:
    """One JSON object an event, on stdout."""

    def show(self, event: Event) -> None:
        click.echo(json.dumps({"event": type(event).__name__, **asdict(event)}))


class QuietView:
    """Warnings alone."""

    def show(self, event: Event) -> None:
        if (isinstance(event, Note) and event.level == "warning") or (isinstance(event, Watched) and event.loud):
            click.echo(plain(event), err=True)


class LiveView:
    """Notes scroll by; below them a line for each rank and each task, redrawn in place."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._rows: dict[str, str] = {}

    def show(self, event: Event) -> None:
        from rich.table import Table

        if isinstance(event, RankPhase):
            self._rows[f"rank {event.rank}  {event.node}"] = f"{event.phase} {event.detail}".strip()
        elif isinstance(event, Progress):
            self._rows[event.task] = amount(event)
            if event.current == event.total:
                del self._rows[event.task]
        else:
            self._live.console.print(plain(event), markup=False, highlight=False, soft_wrap=True)
        table = Table.grid(padding=(0, 2))
        for name, text in sorted(self._rows.items()):
            table.add_row(name, text, style="green" if text == "ready" else None)
        self._live.update(table)


def plain(event: Event) -> str:
    """An event as one line."""
    if isinstance(event, RankPhase):
        return f"rank {event.rank} on {event.node}: {event.phase} {event.detail}".rstrip()
    if isinstance(event, Progress):
        return f"{event.task}: {amount(event)}"
    if isinstance(event, LogLine):
        return f"rank {event.rank} | {event.text}"
    if isinstance(event, Watched):
        return f"{event.at} {event.text}"
    return f"warning: {event.text}" if event.level == "warning" else event.text


def amount(event: Progress) -> str:
    """`3 of 8 layers`, `12.3 of 40.0 MB`; without a total just how far it is."""
    if event.detail:
        return f"{event.current} of {event.total or '?'} {event.detail}"
    total = f" of {event.total / 1e6:.1f}" if event.total else ""
    return f"{event.current / 1e6:.1f}{total} MB{_pace(event)}"


def _pace(event: Progress) -> str:
    """`, 5.1 MB/s, 65 s left`; "" where no rate is known, and no time where no total is."""
    if not event.rate:
        return ""
    left = ((event.total or 0) - event.current) / event.rate
    time = f", {duration(left)} left" if left > 0 else ""
    return f", {event.rate / 1e6:.1f} MB/s{time}"


def thinned(event: Event) -> tuple[str, str]:
    """(what the event is about, how far it is in coarse steps): equal steps need no second line."""
    if isinstance(event, Progress):
        return event.task, str(10 * event.current // event.total) if event.total else "going"
    if isinstance(event, RankPhase):
        percent = event.detail.removesuffix(" %")
        return f"rank {event.rank}", event.phase + (str(int(percent) // 25) if percent.isdigit() else event.detail)
    return "note", f"{id(event)}{plain(event)}"


@contextmanager
def view(*, quiet: bool = False, as_json: bool = False) -> Iterator[View]:
    """The view that fits where the output goes."""
    if as_json:
        yield JsonView()
    elif quiet:
        yield QuietView()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), refresh_per_second=8) as live:
            yield LiveView(live)
    else:
        yield PlainView()


def follow(events: Iterator[Event], shown: View) -> None:
    """Show every event. An interruption goes into the operation, so that it can undo what it began and say so."""
    try:
        for event in events:
            shown.show(event)
    except KeyboardInterrupt as interruption:
        _undo(events, interruption, shown)
        raise


def result(events: Generator[Event, None, T], shown: View) -> T:
    """Show every event; what the operation ends with."""
    ended: list[T] = []

    def kept() -> Generator[Event, None, None]:
        ended.append((yield from events))

    follow(kept(), shown)
    return ended[0]


def _undo(events: Iterator[Event], interruption: KeyboardInterrupt, shown: View) -> None:
    """Where the interruption hit the view, the operation has not heard of it yet."""
    if not isinstance(events, Generator) or inspect.getgeneratorstate(events) == inspect.GEN_CLOSED:
        return
    try:
        event = events.throw(interruption)
        while True:
            shown.show(event)
            event = next(events)
    except (StopIteration, KeyboardInterrupt):
        return
