"""Text that is garbage, and requests that stand still: found where they are, and nowhere else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.launch import symptom
from deploy.launch.load import Load, Sample
from deploy.launch.symptom import Rule, garbage, wedged

RULE = Rule(120, 30)
PROSE = "A table has rows and columns; each row tells of one thing, and each column of one of its properties. "
SANE = [
    "Red, green and blue.",
    "4",
    "ok!!!",
    "Zürich",
    "我可以帮您查询苏黎世未来三天的天气。请告诉我城市和日期。",
    "東京の天気は晴れです。明日も晴れるでしょう。",
    "| name | value |\n|------|-------|\n| a    | 1     |\n| b    | 2     |\n| c    | 3     |\n",
    "\n".join(f"| row {i} | {i * i} | {i * 7 % 13} |" for i in range(40)),
    "for (int i = 0; i < 10; i++) {\n                    total += values[i];\n    }\n",
    '{"a": [0, 0, 0, 0, 0, 0, 0, 0], "b": "zeros, as they were asked for", "c": null}',
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20",
    "#" * 80 + "\n# A heading\n" + "#" * 80 + "\n" + PROSE,
    "Ha ha ha! That is a good one.",
]
WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=9)


@pytest.mark.parametrize("text", SANE)
def test_a_sane_answer_is_not_garbage(text: str) -> None:
    assert garbage(text) == ""


@pytest.mark.parametrize("folder", ["deploy", "docs", "configs"])
def test_no_file_of_this_project_is_garbage(folder: str) -> None:
    root = Path(symptom.__file__).resolve().parents[2] / folder
    files = [one for one in root.rglob("*") if one.suffix in (".py", ".md", ".json", ".sh", ".txt", ".j2")]
    assert [one.name for one in files if one.stat().st_size and garbage(one.read_text())] == []


@given(st.binary(min_size=3, max_size=3000))
def test_random_bytes_in_base64_are_not_garbage(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    if len(set(data)) > 8:
        assert garbage(text) == ""


@given(st.lists(WORD, min_size=8, max_size=200, unique=True))
def test_words_that_differ_are_not_garbage(words: list[str]) -> None:
    assert garbage(" ".join(words)) == ""


@given(st.sampled_from("-=_*#~. "), st.integers(1, 90), st.integers(0, 100))
def test_a_ruler_inside_an_answer_is_not_garbage(mark: str, width: int, at: int) -> None:
    assert garbage(PROSE[:at] + "\n" + mark * width + "\n" + PROSE) == ""


@given(st.text("ABC def!?&ï的\t", min_size=1, max_size=40).filter(str.strip), st.integers(400, 900))
def test_a_piece_over_and_over_is_garbage_whatever_it_is(piece: str, length: int) -> None:
    assert garbage((piece * length)[:length])


@given(st.text(min_size=1, max_size=200), st.sampled_from(["!", "!!", "the ", "0", "呵", "\n- "]))
def test_an_answer_that_falls_into_a_loop_is_garbage(begin: str, piece: str) -> None:
    assert garbage(begin + piece * 600)


@pytest.mark.parametrize(
    "text", ["", "  \n ", "!!!!", "!!!!!!!!", "0000000000", "\0\0\0\0", "the the the the the the the the the"]
)
def test_the_short_forms_are_garbage_too(text: str) -> None:
    assert garbage(text)


@given(st.text(min_size=0, max_size=40), st.integers(11, 60))
def test_replacement_characters_are_garbage_and_a_lone_one_is_not(text: str, count: int) -> None:
    assert garbage(text + "�x" * count)
    assert garbage(PROSE + "�") == ""


def test_the_reason_shows_the_piece() -> None:
    assert garbage("!" * 300) == "'!' 300 times"
    assert garbage("�a�b�c�d�e") == "5 of 10 characters are unreadable"


def sample(
    at: float, tokens: int | None = 500, watts: tuple[float, ...] = (), *, running: int = 2, waiting: int = 1
) -> Sample:
    return Sample(at, None if tokens is None else Load("/get_load", running, waiting, tokens), watts)


def minutes(*tokens: int | None, watts: tuple[float, ...] = ()) -> list[Sample]:
    return [sample(60.0 * at, one, watts) for at, one in enumerate(tokens)]


def test_requests_without_a_token_for_as_long_as_the_rule_says_are_wedged() -> None:
    found = wedged(minutes(400, 500, 500, 500, watts=(12.5, 29)), RULE)
    assert found
    assert found.seconds == 120
    counts = "requests: 2 running, 1 waiting, and no token came for 120 s"
    assert found.text == f"{counts}; no GPU drew more than 29 W (/get_load)"


@pytest.mark.parametrize(
    "samples",
    [
        [],
        minutes(500, 500),
        minutes(500, 500, 501),
        minutes(None, None, None, None),
        minutes(500, 500, 500, watts=(12, 31)),
        [sample(60.0 * at, running=0, waiting=0) for at in range(4)],
        [sample(0, running=0, waiting=0), sample(60, None), sample(200, None)],
        [sample(0), sample(60), sample(120, running=0, waiting=0)],
        [sample(0, running=0, waiting=0), sample(60), sample(120)],
    ],
)
def test_anything_else_is_not(samples: list[Sample]) -> None:
    assert wedged(samples, RULE) is None


def test_a_rank_0_that_had_requests_and_falls_silent_is_wedged() -> None:
    found = wedged(minutes(400, 500, None, None), RULE)
    assert found
    assert "when rank 0 last said so" in found.text
    assert "power could not be read" in found.text


def test_the_age_of_the_last_batch_counts_as_time_looked_at() -> None:
    load = Load("/get_load", 1, 0, 500)
    still = [Sample(0, load, batch_age=298), Sample(2, load, batch_age=300)]
    found = wedged(still, RULE)
    assert found
    assert found.seconds == 298
    assert wedged([Sample(0, load, batch_age=3), Sample(2, load, batch_age=5)], RULE) is None
    assert wedged(still[:1], RULE) is None


STEP = st.tuples(st.floats(0.5, 20), st.sampled_from([None, 0, 3]), st.sampled_from([(), (12.0,), (45.0,)]))


@given(st.lists(STEP, max_size=60))
def test_a_server_whose_tokens_move_is_never_wedged(steps: list[tuple[float, int | None, tuple[float, ...]]]) -> None:
    at, samples = 0.0, []
    for tokens, (seconds, running, watts) in enumerate(steps):
        at += seconds
        samples.append(Sample(at, None if running is None else Load("/get_load", running, 0, tokens), watts))
    found = wedged(samples, RULE)
    answered = [one for one in samples if one.load]
    # Only silence after requests is left to be found here.
    assert found is None or (
        samples[-1].load is None and answered[-1].requests and samples[-1].at - answered[-1].at >= 120
    )


@given(st.lists(STEP, max_size=10), st.integers(3, 30), st.floats(5, 100), st.sampled_from([(), (29.9,), (1.0, 12.0)]))
def test_still_requests_at_the_end_are_always_wedged(
    before: list[tuple[float, int | None, tuple[float, ...]]], count: int, every: float, watts: tuple[float, ...]
) -> None:
    samples = [Sample(float(i), None, power) for i, (_, _, power) in enumerate(before)]
    samples += [sample(1000 + i * every, 77, watts) for i in range(count)]
    assert (wedged(samples, RULE) is not None) == (max(samples[-1].at - _begin(samples, watts), 0) >= 120)


def _begin(samples: list[Sample], watts: tuple[float, ...]) -> float:
    """When the still end begins: silence before it belongs to it while power was low."""
    begin = samples[-1].at
    for one in reversed(samples):
        if any(value >= RULE.watts for value in one.watts):
            break
        begin = one.at
    return begin


def test_json_of_numbers_is_not_garbage() -> None:
    assert garbage(json.dumps({str(i): i % 7 for i in range(300)})) == ""
