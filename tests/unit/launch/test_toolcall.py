"""Verdicts on a tool-call parser: exact, leaking, broken, or not put to the test."""

from __future__ import annotations

import json

import pytest

from deploy.launch.streamed import Call, Streamed
from deploy.launch.toolcall import CANNED, EXPECTED, MARKUP, chat_request, judge_parse, judge_stream, parse_request

NAME, GIVEN = EXPECTED
GOOD = {"tool_index": 0, "name": NAME, "parameters": json.dumps(GIVEN)}


def parsed(*calls: object, text: str = "I will look.") -> str:
    return json.dumps({"normal_text": text, "calls": calls})


def test_the_exact_call_passes() -> None:
    assert judge_parse("glm47", 200, parsed(GOOD)).outcome == "passed"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"message": "Unsupported tool_call_parser: glm47"}'),
        (0, "timed out"),
        (200, "no JSON"),
        (200, "[]"),
        (200, parsed(text=CANNED["glm47"])),
        (200, parsed(GOOD, GOOD)),
        (200, parsed({**GOOD, "name": "get_weather\n"})),
        (200, parsed({**GOOD, "parameters": json.dumps(GIVEN | {"days": "3"})})),
        (200, parsed({**GOOD, "parameters": '{"city": "Z'})),
        (200, parsed({**GOOD, "parameters": None})),
        (200, parsed(GOOD, text="I will look.</tool_call>")),
    ],
)
def test_anything_else_fails_and_shows_parser_and_answer(status: int, body: str) -> None:
    verdict = judge_parse("glm47", status, body)
    assert verdict.outcome == "failed"
    assert "glm47" in verdict.text or str(status) in verdict.text


def test_the_canned_texts_hold_the_expected_call() -> None:
    for parser, text in CANNED.items():
        assert parse_request(parser)["text"] == text
        assert all(str(value) in text for value in GIVEN.values())
        assert ("\n" in text) is (parser != "glm47")
    assert chat_request("m")["stream"] is True


def test_a_sound_streamed_call_passes() -> None:
    verdict = judge_stream("glm47", Streamed(calls={0: Call(NAME, '{"city": "Zurich", "days": 3}')}))
    assert verdict.outcome == "passed"
    assert "Zurich" in verdict.text


@pytest.mark.parametrize("mark", MARKUP)
def test_markup_in_the_content_fails_and_is_shown(mark: str) -> None:
    verdict = judge_stream("glm47", Streamed(content=f"Hello {mark}", calls={0: Call(NAME, "{}")}))
    assert verdict.outcome == "failed"
    assert mark in verdict.text
    assert "glm47" in verdict.text


def test_a_call_swallowed_by_the_thought_fails() -> None:
    assert judge_stream("glm47", Streamed(reasoning="So: <tool_call>get_weather")).outcome == "failed"


@pytest.mark.parametrize("arguments", ['{"city": True}', '{"city": "Z"', "", "[]", '{"days": NaN}', "{}{}"])
def test_arguments_that_are_no_json_object_fail_and_are_shown(arguments: str) -> None:
    verdict = judge_stream("glm47", Streamed(calls={0: Call(NAME, arguments)}))
    assert verdict.outcome == "failed"
    assert repr(arguments) in verdict.text


def test_a_call_of_another_name_fails() -> None:
    assert judge_stream("glm47", Streamed(calls={0: Call("get_weather<arg_key>city", "{}")})).outcome == "failed"


def test_a_call_that_the_limit_cut_off_is_no_fault_of_the_parser() -> None:
    assert judge_stream("glm47", Streamed(calls={0: Call(NAME, '{"ci')}, finish="length")).outcome == "unsure"


def test_an_answer_in_words_is_said_as_such() -> None:
    verdict = judge_stream("glm47", Streamed(content="It rains in Zurich."))
    assert verdict.outcome == "unsure"
    assert "answered in words" in verdict.text
    assert "thought alone" in judge_stream("glm47", Streamed(reasoning="Let me think.")).text


@pytest.mark.parametrize("text", ["", "  ", "!!!!!!"])
def test_garbage_fails(text: str) -> None:
    assert judge_stream("glm47", Streamed(content=text)).outcome == "failed"
