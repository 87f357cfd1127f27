"""What the toolkit said is read from its output, and what answers to a fault is told from the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from deploy.event import Note, RankPhase
from tests.gpu.strike import epoch, notices
from tests.gpu.toolkit import event, line


def said(kind: str, **fields: object) -> str:
    return json.dumps({"event": kind, **fields})


@pytest.mark.parametrize(
    ("text", "noticed"),
    [
        (said("RankPhase", **asdict(RankPhase(2, "a", "gone"))), True),
        (said("RankPhase", **asdict(RankPhase(2, "a", "graphs"))), False),
        (said("Note", **asdict(Note("a socket", "warning"))), False),
        (said("Watched", what="trouble", text="rank 2 exited", at="", rank=2), True),
        (said("Watched", what="watching", text="4 ranks", at="", rank=None), False),
        ("no event", False),
    ],
)
def test_a_fault_is_noticed_where_a_rank_is_said_to_be_gone_or_in_trouble(text: str, noticed: bool) -> None:
    assert notices(event(1.0, text)) is noticed


def test_an_error_on_stderr_notices_too() -> None:
    assert notices(line(1.0, "error: gpu: rank 2 exited"))
    assert not notices(line(1.0, "    its last line"))


def test_an_event_keeps_its_rank_and_words() -> None:
    one = event(2.5, said("Watched", what="trouble", text="rank 2 exited", at="x", rank=2))
    assert (one.at, one.kind, one.level, one.text, one.rank) == (2.5, "Watched", "trouble", "rank 2 exited", 2)


def test_docker_s_time_is_read_to_the_microsecond() -> None:
    assert epoch("1970-01-01T00:01:00.250000999Z") == 60.25
