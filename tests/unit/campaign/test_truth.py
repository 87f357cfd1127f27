from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.campaign.truth import Known, answers

ALL = Known(frozenset("abcd"), 4, ready=True, locked=False)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (ALL, ("serving",)),
        (replace(ALL, ready=False), ("loading",)),
        (replace(ALL, alive=frozenset("abc"), ready=False), ("degraded",)),
        (replace(ALL, alive=frozenset(), ready=False), ("down",)),
        (replace(ALL, alive=frozenset(), ready=False, away=1), ("unknown",)),
        (replace(ALL, alive=frozenset("abc"), ready=False, away=1), ("degraded", "wedged")),
        (replace(ALL, hurt=True), ("degraded", "wedged")),
    ],
)
def test_what_status_may_say_follows_from_what_runs(known: Known, expected: tuple[str, ...]) -> None:
    assert answers(known, known) == expected


def test_serving_is_no_answer_once_a_rank_is_gone() -> None:
    gone = replace(ALL, alive=frozenset("abc"), ready=False, locked=True)
    assert "serving" not in (answers(gone, gone) or ())


def test_nothing_can_be_said_of_an_answer_that_was_given_while_the_gang_changed() -> None:
    assert answers(ALL, replace(ALL, alive=frozenset("abc"))) is None
