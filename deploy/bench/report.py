"""Runs as one self-contained HTML page: no network, no script. Measures and judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.bench.inline import plain
from deploy.bench.picture import Look, drawn, looks
from deploy.bench.plots import SPECS, Numbered
from deploy.bench.results import Run
from deploy.bench.seeds import MARK, Group, Published, grouped
from deploy.bench.series import plotted
from deploy.bench.summary import Table, failures, number, raw, servers, spread, suites, table

TEMPLATE = Path(__file__).with_name("report.html.j2")
_MARKERS = {"o": "circle", "s": "square", "^": "up", "D": "diamond", "v": "down", "": ""}


@dataclass(frozen=True)
class Picture:
    """A plot on the page; `legend` is empty where a single line needs none; `note` is shown below."""

    title: str
    svg: str
    legend: tuple[tuple[str, Look], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A suite on the page; `absent` are plots for which there is no data."""

    suite: str
    pictures: tuple[Picture, ...]
    absent: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class Heading:
    """What stands above the results; `made` is when, `refused` are files that hold no result."""

    title: str = "Benchmark results"
    made: str = ""
    refused: tuple[str, ...] = ()


def numbered(runs: dict[str, Run]) -> tuple[Numbered, ...]:
    """Runs with the numbers by which a report names them."""
    return tuple(Numbered(number, name, run) for number, (name, run) in enumerate(runs.items(), 1))


def page(runs: Sequence[Numbered], references: Sequence[Published], heading: Heading) -> str:
    """The page. Raises BenchError without matplotlib."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "plain": plain,
        "spread": spread,
        "told": _told,
        "shape": _MARKERS.__getitem__,
    }
    return environment.get_template(TEMPLATE.name).render(_fields(runs, references, heading)) + "\n"


def _fields(runs: Sequence[Numbered], references: Sequence[Published], heading: Heading) -> dict[str, Any]:
    sections = [_section(suite, runs, references) for suite in suites(runs)]
    groups: tuple[Group, ...] = grouped(references)
    return {
        "heading": heading,
        "runs": runs,
        "sections": sections,
        "failures": failures(runs),
        "servers": servers(runs),
        "raw": [raw(one) for one in runs],
        "groups": groups,
        "mark": MARK,
    }


def _section(suite: str, runs: Sequence[Numbered], references: Iterable[Published]) -> Section:
    pictures, absent, references = [], [], tuple(references)
    for place, spec in enumerate(one for one in SPECS if one.suite == suite):
        plot = plotted(spec, runs, references)
        if plot is None:
            absent.append(spec.title)
            continue
        legend = tuple((line.label, look) for line, look in zip(plot.lines, looks(plot.lines), strict=True))
        named = legend if len(legend) > 1 else ()
        pictures.append(Picture(spec.title, drawn(plot, f"plot-{_word(suite)}-{place}"), named, plot.note))
    return Section(suite, tuple(pictures), tuple(absent), table([one for one in runs if one.run.suite == suite]))


def _word(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _told(value: Any) -> str:
    """A value of a fact: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
