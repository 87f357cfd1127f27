from __future__ import annotations

from benchmarks.campaign.trial import state


def test_the_state_is_read_behind_whatever_was_said_before_it() -> None:
    assert state('warning: x\n{\n  "state": "degraded",\n  "ranks": []\n}\n') == "degraded"


def test_a_status_that_is_no_json_is_told_as_it_is_and_matches_no_truth() -> None:
    assert state("error: no such file").startswith("no JSON: error")
