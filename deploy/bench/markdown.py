"""Runs as Markdown, for docs/results.md: tables without plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from deploy.bench.inline import plain
from deploy.bench.plots import Numbered
from deploy.bench.report import Heading
from deploy.bench.seeds import MARK, Published, grouped
from deploy.bench.summary import Row, Table, failures, number, servers, spread, suites, table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")


def markdown(runs: Sequence[Numbered], references: Sequence[Published], heading: Heading) -> str:
    """GitHub's Markdown, ending with a newline. What runs say is shown as it is, never taken for markup."""
    parts = (
        _head(runs, heading),
        *(_suite(name, runs) for name in suites(runs)),
        _servers(runs),
        _published(references),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line of a table."""
    return _SPECIAL.sub(r"\\\1", plain(text))


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> Iterator[str]:
    """A table whose first `numbers` columns are of text."""
    yield _line(head)
    yield _line(["---" if place < numbers else "--:" for place in range(len(head))])
    yield from map(_line, rows)
    yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(runs: Sequence[Numbered], heading: Heading) -> Iterator[str]:
    yield f"## {escaped(heading.title)}"
    yield ""
    rows = []
    for one in runs:
        run = one.run
        state = "complete" if run.complete else "**not finished**"
        state += f", **{run.failures} failed**" if run.failures else ""
        state += ", **the client was the bottleneck**" if run.client.bottleneck else ""
        told = (run.suite, one.name, run.began, run.server.model, f"{run.server.engine} {run.server.version}".strip())
        rows.append((str(one.number), *map(escaped, told), state, number(run.seconds), str(run.seed)))
    yield from _grid(("run", "suite", "file", "began", "model", "engine", "state", "seconds", "seed"), rows, 7)
    for one in runs:
        yield from (f"- run {one.number}: {escaped(note)}" for note in one.run.notes)
    yield from (f"- not taken: {escaped(why)}" for why in heading.refused)
    yield from _failures(runs)


def _failures(runs: Sequence[Numbered]) -> Iterator[str]:
    failed = failures(runs)
    yield ""
    if failed:
        yield "Failed repeats, which are in no median, and servers that fell:"
        yield ""
    for one in failed:
        place = f"run {one.run}, {escaped(one.suite)} {escaped(one.case)}, repeat {one.repeat}"
        yield f"- {place}: {escaped(': '.join(part for part in (one.kind, one.error) if part))}"
    yield ""


def _suite(name: str, runs: Sequence[Numbered]) -> Iterator[str]:
    made = table([one for one in runs if one.run.suite == name])
    yield f"### {escaped(name)}"
    yield ""
    yield "Medians, with their 95 % confidence intervals."
    yield ""
    heads = ["case", "parameters", "run", "repeats", *(_column(made, place) for place in range(len(made.columns)))]
    yield from _grid(heads, (_row(row) for row in made.rows), 2)


def _column(made: Table, place: int) -> str:
    column = made.columns[place]
    unit = f", {escaped(column.unit)}" if column.unit else ""
    return escaped(column.name) + unit + (f" ({column.wrong})" if column.wrong else "")


def _row(row: Row) -> list[str]:
    repeats = str(row.good) + (f", **{row.failed} failed**" if row.failed else "")
    figures = (f"{number(one.median)} ({spread(one)})" if one else "-" for one in row.figures)
    return [escaped(row.case), escaped(row.parameters), str(row.run), repeats, *figures]


def _servers(runs: Sequence[Numbered]) -> Iterator[str]:
    yield "### Servers"
    yield ""
    rows = []
    for one in servers(runs):
        server = one.server
        said = (server.url, server.model, server.engine, server.version, server.image, ", ".join(server.tables))
        rows.append((", ".join(map(str, one.runs)), *(escaped(text) or "not said" for text in said)))
    yield from _grid(("runs", "URL", "model", "engine", "version", "image", "kernel tables"), rows, 7)


def _published(references: Sequence[Published]) -> Iterator[str]:
    if not references:
        return
    yield "### Published elsewhere"
    yield ""
    yield f"These figures are {MARK}; each with what is known to be wrong about it."
    yield ""
    rows = []
    for group in grouped(references):
        values = "; ".join(f"{escaped(case)}: {escaped(value)}" for case, value in group.values)
        rows.append((values, escaped(group.figure), escaped(group.source), escaped(" ".join(group.wrong))))
    yield from _grid(("what", "figure", "source", "what is known to be wrong"), rows, 4)
