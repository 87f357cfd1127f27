"""The judge of tuning runs under faults finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.campaign.tuned import Answer, measurements
from benchmarks.tune_faults import judged


def line(number: int, seconds: float = 1.0) -> str:
    return json.dumps({"trial": {"tokens": number}, "timing": {"seconds": [seconds]}}) + "\n"


LINES = [line(number) for number in range(4)]
ONE = Answer({"E=1.json": "{}"}, LINES)


def wrong(told: Answer, before: list[str] | None = None) -> str:
    return "; ".join(judged(told, ONE, before or []))


def test_the_same_measurements_in_another_order_are_as_they_must_be() -> None:
    assert wrong(Answer(ONE.tables, LINES[::-1]), LINES[::-1][:2]) == ""


def test_what_is_wrong_is_told() -> None:
    assert "tables" in wrong(Answer({"E=1.json": "{ }"}, LINES))
    assert "1 measurements are in the journal twice" in wrong(Answer(ONE.tables, [*LINES, line(0, 2.0)]))
    assert "1 measurements are not those of one node" in wrong(Answer(ONE.tables, LINES[:3]))
    assert "2 measurements are not those of one node" in wrong(Answer(ONE.tables, [*LINES[:3], line(3, 2.0)]))
    assert "before the kill are lost" in wrong(Answer(ONE.tables, LINES), LINES[::-1][:2])


def test_a_line_that_was_cut_off_is_no_measurement(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert measurements(journal) == []
    journal.write_text('{"format": 2}\n' + line(0) + line(1)[:-5])
    assert measurements(journal) == [line(0).strip()]


def test_where_a_measurement_was_made_makes_it_no_other(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"format": 3}\n' + json.dumps({**json.loads(line(0)), "node": "spark-2"}) + "\n" + line(1))
    assert measurements(journal) == [line(0).strip(), line(1).strip()]
