"""What the stand-in says: tokens, limits, and calls that are made from a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.lab.standin.answer import arguments, call, called, content, limited, sentence, spoken, tokens

WEATHER = {
    "name": "get_weather",
    "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
CLOCK = {"name": "setAlarmClock"}


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_an_answer_is_cut_repeated_or_whole() -> None:
    assert limited(["a", "b"], None, False) == (["a", "b"], "stop")
    assert limited(["a", "b"], 1, False) == (["a"], "length")
    assert limited(["a", "b"], 2, False) == (["a", "b"], "stop")
    assert limited(["a", "b"], 5, True) == (["a", "b", "a", "b", "a"], "length")


def test_a_sentence_says_who_speaks_unless_told_what_to_say() -> None:
    assert "stand-in" in sentence("hello world", "")
    assert sentence("hello", "42") == "42"


def test_text_of_messages_is_found_in_strings_and_parts() -> None:
    parts = [{"type": "text", "text": "b"}, {"type": "image_url"}]
    assert spoken([{"content": "a"}, {"content": parts}, {"content": None}]) == "a\nb \n"
    assert content({}) == ""


@pytest.mark.parametrize(
    ("prompt", "choice", "expected"),
    [
        ("How is the weather?", "auto", ["get_weather"]),
        ("get_weather in Lisbon", "auto", ["get_weather"]),
        ("An alarm and the weather", "auto", ["get_weather", "setAlarmClock"]),
        ("Get me the set", "auto", []),
        ("hello", "required", ["get_weather"]),
        ("hello", {"type": "function", "function": {"name": "setAlarmClock"}}, ["setAlarmClock"]),
    ],
)
def test_the_functions_that_a_prompt_asks_for_are_called(prompt: str, choice: object, expected: list[str]) -> None:
    assert [one["name"] for one in called(prompt, [WEATHER, CLOCK], choice)] == expected


def test_a_call_is_written_in_the_models_notation() -> None:
    given = {"city": "Lisbon", "days": 3}
    expected = (
        "<tool_call>f<arg_key>city</arg_key><arg_value>Lisbon</arg_value>"
        "<arg_key>days</arg_key><arg_value>3</arg_value></tool_call>"
    )
    assert call("f", given, "glm47") == expected
    assert call("f", {}, "glm47") == "<tool_call>f</tool_call>"
    assert call("f", {"a": True}, "glm45").count("\n") == 3


def test_arguments_come_from_the_prompt() -> None:
    assert arguments(WEATHER, "Weather in Lisbon for 3 days") == {"city": "Lisbon", "days": 3}
    assert arguments(WEATHER, 'the weather of "new york"') == {"city": "new york", "days": 1}
    assert arguments(CLOCK, "anything") == {}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "number"}, 2.5),
        ({"type": "boolean"}, False),
        ({"enum": ["red", "blue"]}, "blue"),
        ({"enum": [1, 2]}, 2),
        ({"type": ["null", "integer"]}, 2),
        ({"type": "array", "items": {"type": "string"}}, ["Rome", "Oslo"]),
        ({"type": "object", "properties": {"x": {"type": "string"}}}, {"x": "Rome"}),
        ({"anyOf": []}, "Rome"),
    ],
)
def test_every_type_of_a_schema_gets_a_value(schema: dict[str, Any], expected: Any) -> None:
    function = {"name": "f", "parameters": {"properties": {"it": schema}}}
    assert arguments(function, "it is not blue in Rome and Oslo at 2.5") == {"it": expected}


def test_markup_is_one_token_as_in_the_model_s_vocabulary() -> None:
    text = "Well.\n<tool_call>f<arg_key>a</arg_key>\n<arg_value>x < y</arg_value></tool_call></think>"
    pieces = tokens(text)
    assert "".join(pieces) == text
    assert {"<tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "</tool_call>", "</think>"} <= set(
        pieces
    )
