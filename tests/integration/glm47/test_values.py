"""What stands in the arguments of a call: limits, settings and the books that SGLang's serving layer reads."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from tests.integration.glm47.tree import Sglang, call, cut, dumped
from tests.integration.serving import Serving

pytestmark = pytest.mark.integration


def argument(sglang: Sglang, schema: Any, text: str) -> Any:
    """The value of the argument `a` of this schema, written as `text`; the same whole and streamed."""
    tools = sglang.tools({"f": {"type": "object", "properties": {"a": schema}}})
    written = call("f", a=text)
    answer = sglang.whole(written, tools)
    assert sglang.streamed(cut(written, 7), tools) == answer
    ((_, arguments),) = answer[1]
    return json.loads(arguments)["a"]


@pytest.mark.parametrize("opening", ["[", '{"a":', "(", "[{"])
@pytest.mark.parametrize("depth", [300, 900, 100_000])
@pytest.mark.parametrize("schema", [{"type": "array"}, {}, {"type": ["string", "object", "array"]}])
def test_what_is_nested_too_deep_stays_text(sglang: Sglang, opening: str, depth: int, schema: Any) -> None:
    text = opening * depth + "1" + {"[": "]", '{"a":': "}", "(": ")", "[{": "}]"}[opening] * depth
    assert argument(sglang, schema, text) == text


@pytest.mark.parametrize("depth", [1, 100, 200])
def test_what_is_nested_less_deep_is_a_value(sglang: Sglang, depth: int) -> None:
    text = "[" * depth + '"[[["' + "]" * depth
    assert argument(sglang, {"type": "array"}, text) == json.loads(text)


def test_many_brackets_side_by_side_are_not_deep(sglang: Sglang) -> None:
    text = "[" + ", ".join(["[]", '"["'] * 500) + "]"
    assert argument(sglang, {"type": "array"}, text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["{1, 2}", "[b'x']", "[1j]", "{**{}}", "[print]", "[1_000, 0x]", "{'a': nan}", "[1e999]", "['a' 'b'", "{'\x00'}"],
)
def test_python_that_is_no_json_stays_text(sglang: Sglang, text: str) -> None:
    assert argument(sglang, {"type": ["array", "object"]}, text) == text


def test_integers_of_any_length_keep_their_digits(sglang: Sglang) -> None:
    assert argument(sglang, {"type": "integer"}, "9" * 4000) == int("9" * 4000)
    assert argument(sglang, {"type": "integer"}, "9" * 5000) == "9" * 5000


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "object"}, {}, {"type": ["string", "null"]}])
def test_half_a_surrogate_pair_in_the_text_becomes_the_replacement_character(sglang: Sglang, schema: Any) -> None:
    assert argument(sglang, schema, "a\ud800b\udfff") == "a\ufffdb\ufffd"
    tools = sglang.tools({"f": None})
    assert sglang.streamed(["x\ud83d", "\ude00" + call("f")], tools) == ("x\ufffd\ufffd", [("f", "{}")])


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("forward", [False, True])
def test_unknown_tools_are_treated_alike_in_both_ways(
    sglang: Sglang, forward: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGLANG_FORWARD_UNKNOWN_TOOLS", str(forward))
    tools = sglang.tools({"now": None})
    text = call("ghost", a="1") + call("now") + call("ghost", b="x")
    knows = hasattr(importlib.import_module("sglang.srt.function_call.base_format_detector"), "envs")
    expected = (call("ghost", a="1") + call("ghost", b="x"), [("now", "{}")])
    if forward and knows:
        expected = ("", [("ghost", '{"a": 1}'), ("now", "{}"), ("ghost", '{"b": "x"}')])
    assert sglang.whole(text, tools) == expected
    assert sglang.streamed(cut(text, size), tools) == expected


def test_a_call_is_given_out_as_soon_as_it_has_ended(sglang: Sglang) -> None:
    tools = sglang.tools({"now": None})
    detector = sglang.detector()
    assert detector.parse_streaming_increment("Hm. <tool_call>now</tool_call", tools).normal_text == "Hm. "
    parts = detector.parse_streaming_increment(">", tools).calls
    assert [(part.tool_index, part.name, part.parameters) for part in parts] == [(0, "now", ""), (0, None, "{}")]


def test_the_end_of_a_stream_is_told_once(sglang: Sglang) -> None:
    tools = sglang.tools({"now": None})
    parser = sglang.parser(tools, "glm47")
    assert parser.parse_stream_chunk("a <tool") == ("a ", [])
    assert parser.finish_stream() == ("<tool", [])
    assert parser.finish_stream() == ("", [])


def test_other_detectors_have_nothing_left_at_the_end(sglang: Sglang) -> None:
    tools = sglang.tools({"now": None})
    for name in sglang.parser.ToolCallParserEnum:
        assert name == "glm47" or sglang.parser(tools, name).finish_stream() == ("", [])


def test_without_tools_nothing_is_parsed(sglang: Sglang) -> None:
    text = call("now")
    assert sglang.whole(text, []) == (text, [])
    assert sglang.streamed(cut(text, 3), []) == (text, [])


def test_a_stream_cut_short_keeps_its_finish_reason(sglang: Sglang) -> None:
    tools = sglang.tools({"now": None})
    text = call("now") + "<tool_call>now"
    assert sglang.served_stream(cut(text, 4), tools, "length") == (("<tool_call>now", [("now", "{}")]), "length")


def test_the_parser_asks_for_no_grammar(sglang: Sglang) -> None:
    assert sglang.parser(sglang.tools({"now": None}), "glm47").get_structure_constraint("auto") is None


def test_the_grammar_names_every_tool_and_the_tags(sglang: Sglang) -> None:
    shape = {"type": "object", "properties": {"city": {"type": "string"}}}
    grammar = sglang.detector().build_ebnf(sglang.tools({"weather": shape, "now": {"type": "object"}}))
    assert 'root ::= "<tool_call>" function_call "</tool_call>"' in grammar
    assert 'call_now ::= "now" arguments_now' in grammar
    assert '"<arg_key>city</arg_key><arg_value>" xml_text "</arg_value>"' in grammar


def test_the_type_inference_is_where_newer_code_looks_for_it(sglang: Sglang) -> None:
    infer = sglang.module("function_call.utils").infer_type_from_json_schema
    assert infer({"anyOf": [{"type": "integer"}, {"type": "null"}]}) == "integer"


def test_a_megabyte_in_one_call_and_ten_thousand_calls(sglang: Sglang) -> None:
    shape = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array"}}}
    tools = sglang.tools({"f": shape})
    value = "if a < b:\n\treturn '</x>'  \\n\n" * 36_000
    text = call("f", a=value, b=json.dumps(list(range(1000)))) + call("f", a="x") * 10_000
    said, calls = sglang.streamed(cut(text, 32), tools)
    assert (said, len(calls)) == ("", 10_001)
    assert json.loads(calls[0][1]) == {"a": value, "b": list(range(1000))}
    assert sglang.whole(text, tools) == (said, calls)


def test_a_thought_before_a_call_and_the_end_of_the_answer_go_together(sglang: Sglang) -> None:
    serving = Serving()
    tools = dumped(sglang.tools({"now": None}))
    text = "I need the time.</think>Look: " + call("now") + "\nIt is < 5 <"
    whole = serving.whole(text, tools=tools)
    assert (whole.thought, whole.content, whole.calls) == ("I need the time.", "Look: It is < 5 <", [("now", "{}")])
    for size in range(1, len(text) + 1):
        assert serving.stream(cut(text, size), tools=tools) == whole
