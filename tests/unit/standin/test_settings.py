"""The stand-in's settings and the faults that they order."""

from __future__ import annotations

import pytest

from deploy.lab.standin.settings import Fault, SettingError, Settings, fault, settings


def test_without_variables_all_settings_have_their_defaults() -> None:
    assert settings({}, 0) == Settings()


def test_numbers_and_texts_are_taken() -> None:
    chosen = settings({"STANDIN_LOAD_SECONDS": "0.5", "STANDIN_TEXT": "hi", "STANDIN_THINK": "1"}, 0)
    assert (chosen.load_seconds, chosen.text, chosen.think) == (0.5, "hi", True)


def test_a_pace_is_set_exactly() -> None:
    told = {"STANDIN_TOKENS_PER_SECOND": "50", "STANDIN_CHUNK_TOKENS": "8", "STANDIN_FIRST_TOKEN_SECONDS": "0.25"}
    chosen = settings(told, 0)
    assert (chosen.tokens_per_second, chosen.chunk_tokens, chosen.first_token_seconds) == (50, 8, 0.25)


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(SettingError, match="STANDIN_LOAD_SECONDS is no number: soon"):
        settings({"STANDIN_LOAD_SECONDS": "soon"}, 0)


@pytest.mark.parametrize(
    ("text", "rank", "expected"),
    [
        ("", 0, None),
        ("load", 3, Fault("load")),
        ("load:2", 2, Fault("load")),
        ("load:2", 1, None),
        ("ready:0:7", 0, Fault("ready", 0, 7)),
        ("after:8", 1, Fault("after", 8)),
        ("after:8:1:0", 1, Fault("after", 8, 0)),
        ("after:8:1:0", 0, None),
    ],
)
def test_a_fault_is_for_the_rank_that_it_names(text: str, rank: int, expected: Fault | None) -> None:
    assert fault(text, rank) == expected


@pytest.mark.parametrize("text", ["lunch", "after", "after:soon", "load:first"])
def test_a_fault_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        fault(text, 0)
