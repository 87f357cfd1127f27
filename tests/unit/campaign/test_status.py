from __future__ import annotations

from benchmarks.campaign.client import joined
from benchmarks.campaign.trial import state


def test_the_state_is_read_behind_whatever_was_said_before_it() -> None:
    assert state('warning: x\n{\n  "state": "degraded",\n  "ranks": []\n}\n') == "degraded"


def test_a_status_that_is_no_json_is_told_as_it_is_and_matches_no_truth() -> None:
    assert state("error: no such file").startswith("no JSON: error")


def test_a_message_is_a_line_with_what_is_indented_below_it() -> None:
    lines = [
        (1.0, "error: 1 failed"),
        (1.0, "  host: docker pull"),
        (1.0, "      no space left"),
        (2.0, "hint: mend it"),
    ]
    assert joined(lines) == [(1.0, "error: 1 failed; host: docker pull; no space left"), (2.0, "hint: mend it")]
