"""Views: what each shows of the same events, and how an interruption reaches the operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.cli.output import JsonView, LiveView, PlainView, QuietView, View, follow, plain
from deploy.event import Event, LogLine, Note, Progress, RankPhase

EVENTS: list[Event] = [
    Note("connecting"),
    Progress("pull on a", 1, 2, "layers"),
    RankPhase(0, "a", "weights", "3 %"),
    RankPhase(0, "a", "weights", "4 %"),
    RankPhase(0, "a", "ready"),
    Note("disk nearly full", "warning"),
]


class Live:
    """Keeps what a live view draws."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self.rows: list[list[Any]] = []
        self.console = self

    def print(self, text: str, **options: object) -> None:
        self.printed.append(text)

    def update(self, table: Any) -> None:
        self.rows = [list(column.cells) for column in table.columns]


def test_plain_is_a_line_an_event_with_progress_thinned_out(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    for event in EVENTS:
        view.show(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "connecting",
        "pull on a: 1 of 2 layers",
        "rank 0 on a: weights 3 %",
        "rank 0 on a: ready",
        "warning: disk nearly full",
    ]


def test_json_is_an_object_an_event_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    for event in EVENTS:
        JsonView().show(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[2] == {"event": "RankPhase", "rank": 0, "node": "a", "phase": "weights", "detail": "3 %"}
    assert len(lines) == len(EVENTS)


def test_quiet_shows_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for event in EVENTS:
        QuietView().show(event)
    assert capsys.readouterr().err == "warning: disk nearly full\n"


def test_live_keeps_a_row_a_rank_and_drops_what_is_done() -> None:
    live = Live()
    view = LiveView(live)
    for event in [*EVENTS, RankPhase(1, "b", "starting"), Progress("pull on a", 2, 2, "layers")]:
        view.show(event)
    assert live.rows == [["rank 0  a", "rank 1  b"], ["ready", "starting"]]
    assert live.printed == ["connecting", "warning: disk nearly full"]


@pytest.mark.parametrize(
    ("event", "line"),
    [(LogLine(2, "hello"), "rank 2 | hello"), (Progress("pushing", 3_000_000), "pushing: 3.0 MB")],
)
def test_every_event_has_a_line(event: Event, line: str) -> None:
    assert plain(event) == line


class Interrupted(PlainView):
    """Ctrl-C hits while the first event is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def show(self, event: Event) -> None:
        self.seen.append(plain(event))
        if len(self.seen) == 1:
            raise KeyboardInterrupt


def test_an_interruption_reaches_the_operation_which_undoes_and_says_so() -> None:
    undone: list[str] = []

    def operation() -> Iterator[Event]:
        try:
            yield Note("started")
        except KeyboardInterrupt:
            yield Note("removing")
            undone.append("removed")
            raise

    view = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        follow(operation(), view)
    assert view.seen == ["started", "removing"]
    assert undone == ["removed"]


def test_an_operation_that_ends_by_itself_is_shown_to_its_end() -> None:
    class Kept:
        def __init__(self) -> None:
            self.seen: list[Event] = []

        def show(self, event: Event) -> None:
            self.seen.append(event)

    kept = Kept()
    view: View = kept
    follow(iter(EVENTS), view)
    assert kept.seen == EVENTS


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Progress("copying", 3_000_000, 9_000_000, rate=2e6), "copying: 3.0 of 9.0 MB, 2.0 MB/s, 3 s left"),
        (
            Progress("copying", 1_000_000, 10_000_000_000, rate=1e7),
            "copying: 1.0 of 10000.0 MB, 10.0 MB/s, 17 min left",
        ),
        (Progress("copying", 9_000_000, 9_000_000, rate=2e6), "copying: 9.0 of 9.0 MB, 2.0 MB/s"),
        (Progress("copying", 9_000_000, rate=2e6), "copying: 9.0 MB, 2.0 MB/s"),
        (Progress("copying", 0, 9_000_000, rate=0.0), "copying: 0.0 of 9.0 MB"),
    ],
)
def test_where_a_rate_is_known_the_time_left_is_said(event: Progress, line: str) -> None:
    assert plain(event) == line
