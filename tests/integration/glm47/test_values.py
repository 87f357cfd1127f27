"""The glm47 detector inside SGLang's own, patched trees: a stream says what the finished text says."""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.image import patch
from tests.integration.trees import VERSIONS, unpack

pytestmark = pytest.mark.integration
PROPERTIES = {
    "city": {"type": "string"},
    "days": {"type": "integer"},
    "exact": {"type": "boolean"},
    "where": {"type": "object"},
    "tags": {"type": "array"},
    "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "any": {},
}


class Sglang:
    """What a test needs of one imported tree."""

    def __init__(self) -> None:
        parser = importlib.import_module("sglang.srt.function_call.function_call_parser")
        protocol = importlib.import_module("sglang.srt.entrypoints.openai.protocol")
        self.parser = parser.FunctionCallParser
        self.detector = self.parser.ToolCallParserEnum["glm47"]
        shapes = {"weather": {"type": "object", "properties": PROPERTIES}, "now": None, "odd": {"properties": []}}
        self.tools = [protocol.Tool(function={"name": name, "parameters": shape}) for name, shape in shapes.items()]

    def at_once(self, text: str) -> tuple[str, list[tuple[str | None, str]]]:
        result = self.detector().detect_and_parse(text, self.tools)
        assert [call.tool_index for call in result.calls] == list(range(len(result.calls)))
        return result.normal_text, [(call.name, call.parameters) for call in result.calls]

    def in_pieces(self, pieces: list[str]) -> tuple[str, list[tuple[str | None, str]]]:
        """As a client puts it together: names open calls, arguments are appended to the call of their index."""
        detector, text, calls = self.detector(), "", []
        for piece in pieces:
            result = detector.parse_streaming_increment(piece, self.tools)
            text += result.normal_text
            for part in result.calls:
                if part.name:
                    assert part.tool_index == len(calls)
                    calls.append((part.name, ""))
                name, arguments = calls[part.tool_index]
                calls[part.tool_index] = (name, arguments + part.parameters)
        assert detector.streamed_args_for_tool == [arguments for _, arguments in calls]
        assert [call["arguments"] for call in detector.prev_tool_call_arr] == [json.loads(a) for _, a in calls]
        return text, calls


@pytest.fixture(scope="module", params=VERSIONS)
def sglang(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sglang]:
    """A patched tree, imported without the rest of SGLang: the two package modules that want a GPU are stood in for."""
    tree = unpack(request.param, tmp_path_factory.mktemp("tree"))
    root = Path(__file__).resolve().parents[2]
    assert patch.main(["apply", str(tree), "--manifest", str(root / "patches")]) == 0
    package, tools = types.ModuleType("sglang"), types.ModuleType("sglang.utils")
    package.__path__ = [str(tree / "sglang")]
    tools.convert_json_schema_to_str = json.dumps  # type: ignore[attr-defined]
    sys.modules |= {"sglang": package, "sglang.utils": tools}
    try:
        yield Sglang()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
            del sys.modules[name]


def call(name: str, **arguments: str) -> str:
    inside = "".join(f"<arg_key>{k}</arg_key><arg_value>{v}</arg_value>" for k, v in arguments.items())
    return f"<tool_call>{name}{inside}</tool_call>"


TAGS = ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
WORDS = [
    "weather",
    "now",
    "ghost",
    *PROPERTIES,
    "3",
    "1.50",
    "true",
    "True",
    "null",
    "NaN",
    "1e999",
    '{"a": [1]}',
    '"q"',
]
FRAGMENTS = [*TAGS, *WORDS, "\\", "<", "</", " ", "\n", "é", "\\ud800", "hello"]
VALUES = st.text(alphabet=st.sampled_from(list('a<>/"\\ \n\té0{}[]:,')), max_size=12)
CALLS = st.builds(
    lambda name, arguments: call(name, **arguments),
    st.sampled_from(["weather", "now", "ghost", "odd"]),
    st.dictionaries(st.sampled_from([*PROPERTIES, "extra"]), VALUES, max_size=4),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join),
    st.lists(st.one_of(CALLS, CALLS, st.sampled_from(["\n", " ", "I will look.", "a < b", "<tool"])), max_size=6).map(
        "".join
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, data=st.data())
def test_a_stream_says_what_the_whole_text_says(sglang: Sglang, text: str, data: st.DataObject) -> None:
    expected = sglang.at_once(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=20)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert sglang.in_pieces(pieces) == expected
    assert sglang.in_pieces(list(text)) == expected


def test_every_single_cut_of_two_calls_gives_the_same(sglang: Sglang) -> None:
    text = "Let me see.\n" + call("weather", city="Paris <", days="3") + "\n" + call("now") + "Done <b>"
    expected = sglang.at_once(text)
    assert expected == ("Let me see.\nDone <b>", [("weather", '{"city": "Paris <", "days": 3}'), ("now", "{}")])
    for cut in range(len(text) + 1):
        assert sglang.in_pieces([text[:cut], text[cut:]]) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("city", " 007\n", " 007\n"),
        ("city", "1.50", "1.50"),
        ("city", "true", "true"),
        ("city", 'C:\\temp "x"', 'C:\\temp "x"'),
        ("days", "3", 3),
        ("days", "three", "three"),
        ("exact", "true", True),
        ("where", '{"a": {"b": [1, null]}}', {"a": {"b": [1, None]}}),
        ("tags", "\n[1, 2]\n", [1, 2]),
        ("unit", "null", None),
        ("unit", "5", "5"),
        ("any", "5", 5),
        ("any", "plain", "plain"),
        ("any", "NaN", "NaN"),
        ("any", "1e999", "1e999"),
        ("any", '"\\ud800"', '"\\ud800"'),
        ("any", "[" * 100_000, "[" * 100_000),
        ("extra", '{"k":1}', {"k": 1}),
    ],
)
def test_a_value_becomes_what_its_schema_says(sglang: Sglang, key: str, value: str, expected: Any) -> None:
    _, calls = sglang.at_once(call("weather", **{key: value}))
    assert [(name, json.loads(arguments)) for name, arguments in calls] == [("weather", {key: expected})]


@pytest.mark.parametrize("text", ["", "plain < text", "<tool_call>weather<arg_key>city", "<tool_call></tool_call>x"])
def test_what_is_no_whole_call_gives_no_call(sglang: Sglang, text: str) -> None:
    assert sglang.at_once(text)[1] == []


def test_newlines_of_older_templates_are_taken_as_well(sglang: Sglang) -> None:
    text = "<tool_call>weather\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>"
    assert sglang.at_once(text) == ("", [("weather", '{"days": 2}')])


@pytest.mark.parametrize("forward", [False, True])
def test_unknown_tools_are_treated_alike_in_both_ways(
    sglang: Sglang, forward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGLANG_FORWARD_UNKNOWN_TOOLS", str(forward))
    text = call("ghost", a="1") + call("now") + call("ghost")
    assert sglang.in_pieces(list(text)) == sglang.at_once(text)
    known = [name for name, _ in sglang.at_once(text)[1]]
    forwards = hasattr(importlib.import_module("sglang.srt.function_call.base_format_detector"), "envs")
    assert known == (["ghost", "now", "ghost"] if forward and forwards else ["now"])


def test_the_parser_offers_it_and_gives_text_and_calls(sglang: Sglang) -> None:
    parser = sglang.parser(sglang.tools, "glm47")
    text, calls = parser.parse_non_stream("Hm. " + call("now"))
    assert (text, [item.name for item in calls]) == ("Hm. ", ["now"])
    assert parser.get_structure_constraint("auto") is None


def test_the_grammar_names_every_tool_and_the_tags(sglang: Sglang) -> None:
    grammar = sglang.detector().build_ebnf(sglang.tools[:2])
    assert 'root ::= "<tool_call>" function_call "</tool_call>"' in grammar
    assert 'call_now ::= "now" arguments_now' in grammar
    assert '"<arg_key>city</arg_key><arg_value>" xml_text "</arg_value>"' in grammar


@pytest.mark.parametrize("kind", ["one long value", "many keys without values", "many short calls", "blanks"])
def test_the_cost_is_linear_in_the_text(sglang: Sglang, kind: str) -> None:
    def text(size: int) -> str:
        return {
            "one long value": call("weather", city="x<" * size),
            "many keys without values": "<tool_call>weather" + "<arg_key>a</arg_key>" * (size // 10) + "</tool_call>",
            "many short calls": call("now") * (size // 10),
            "blanks": call("now") + " " * 2 * size,
        }[kind]

    def seconds(size: int) -> float:
        long = text(size)
        pieces = [long[i : i + 4] for i in range(0, len(long), 4)]
        begin = time.process_time()
        sglang.in_pieces(pieces)
        return time.process_time() - begin

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(160_000) for _ in range(2)) < 8 * 4 * small
