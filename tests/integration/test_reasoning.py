"""Thoughts of GLM-4.7 through SGLang's own serving, from real, patched trees: nothing leaks, nothing is lost."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.inside import patch
from tests.integration.serving import Message, Serving, imported
from tests.integration.trees import VERSIONS, unpack

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": None}} for name in ("now", "later")]
CALL = "<tool_call>now</tool_call>"
OTHERS = ("deepseek-r1", "deepseek-v3", "gpt-oss", "kimi", "qwen3", "qwen3-thinking", "minimax", "step3")


@pytest.fixture(scope="module", params=VERSIONS)
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    tree = unpack(request.param, tmp_path_factory.mktemp("tree"))
    assert patch.main(["apply", str(tree), "--manifest", str(ROOT / "patches")]) == 0
    with imported(tree):
        yield Serving()


def both(serving: Serving, text: str, **asked: Any) -> Message:
    """The message, which is the same whole, by characters, and for every single cut."""
    whole = serving.whole(text, **asked)
    assert serving.stream(list(text), **asked) == whole
    for cut in range(1, len(text)):
        assert serving.stream([text[:cut], text[cut:]], **asked) == whole, (text[:cut], text[cut:])
    return whole


def test_a_default_request_gets_the_thought_apart_from_the_answer(serving: Serving) -> None:
    text = "The user greets me.\nI greet back.</think>\n\nHello!\n"
    assert both(serving, text) == Message("The user greets me.\nI greet back.", "Hello!\n", finish="stop")


@pytest.mark.parametrize(
    "text", ["<think>Hm.</think>Hello!", "\n<think>\nHm.\n</think>\nHello!", "\nHm. </think>Hello!"]
)
def test_a_thought_that_opens_itself_as_older_models_do_is_the_same(serving: Serving, text: str) -> None:
    assert both(serving, text) == Message("Hm.", "Hello!", finish="stop")
    asked = {"chat_template_kwargs": {"enable_thinking": False}}
    if "<think>" in text:
        assert both(serving, text, **asked) == Message("Hm.", "Hello!", finish="stop")


@pytest.mark.parametrize("text", ["Hello <b>!\n", "</think>Hello <b>!\n", "</think>\n\nHello <b>!\n"])
def test_a_request_without_thinking_gets_a_plain_answer(serving: Serving, text: str) -> None:
    asked = {"chat_template_kwargs": {"enable_thinking": False}}
    assert both(serving, text, **asked) == Message("", "Hello <b>!\n", finish="stop")


def test_without_thinking_an_answer_is_kept_to_the_letter(serving: Serving) -> None:
    text = " \n</ </thi <think is a tag, and </think> another.\n "
    asked = {"chat_template_kwargs": {"enable_thinking": False}}
    assert both(serving, text, **asked) == Message("", text, finish="stop")


@pytest.mark.parametrize(
    ("given", "thinks"),
    [({"enable_thinking": True}, True), ({"enable_thinking": None}, False), ({"x": 1}, True), ({}, True)],
)
def test_thinking_is_what_the_template_is_told(serving: Serving, given: dict[str, Any], thinks: bool) -> None:
    message = both(serving, "Hm.", chat_template_kwargs=given)
    assert (message.thought, message.content) == (("Hm.", "") if thinks else ("", "Hm."))


@pytest.mark.parametrize(
    "text", ["I was cut o", "I was cut <", "I was cut </thin", "I was cut <tool_call>", "a \n <tool_call>now<"]
)
def test_a_thought_that_was_cut_off_is_all_there(serving: Serving, text: str) -> None:
    message = both(serving, text, finish="length", tools=TOOLS)
    assert message == Message(text.strip(), "", finish="length")


@pytest.mark.parametrize("between", ["", "\n", " \n\n"])
@pytest.mark.parametrize("end", ["", "</think>", "</think>\n"])
def test_a_call_ends_an_open_thought_and_is_a_call(serving: Serving, between: str, end: str) -> None:
    message = both(serving, f"I need the time.{between}{end}{CALL}{CALL}", tools=TOOLS)
    assert message == Message("I need the time.", "", [("now", "{}")] * 2, "tool_calls")


@pytest.mark.parametrize("late", ["</think>", "\n</think>\n", "  </think>"])
def test_a_late_end_of_the_thought_after_a_call_is_dropped(serving: Serving, late: str) -> None:
    message = both(serving, f"Hm.{CALL}{late}{CALL}Done.", tools=TOOLS)
    assert (message.thought, message.content.strip()) == ("Hm.", "Done.")
    assert message.calls == [("now", "{}")] * 2


def test_an_argument_may_hold_the_tags_of_a_thought(serving: Serving) -> None:
    value = "<think>x</think> y"
    text = f"Hm.<tool_call>now<arg_key>a</arg_key><arg_value>{value}</arg_value></tool_call>"
    assert both(serving, text, tools=TOOLS).calls == [("now", '{"a": "<think>x</think> y"}')]


@pytest.mark.parametrize(
    "mention", ["the <tool_call> tag", "<tool_call>s", "`<tool_call>now` is", "<tool_call>a b</tool_call>"]
)
def test_a_thought_may_speak_of_the_tag(serving: Serving, mention: str) -> None:
    message = both(serving, f"I may use {mention} here.</think>Hello!", tools=TOOLS)
    assert message == Message(f"I may use {mention} here.", "Hello!", finish="stop")


@pytest.mark.parametrize("asked", [{}, {"tools": TOOLS, "tool_choice": "none"}])
def test_where_no_call_can_be_meant_the_thought_goes_on(serving: Serving, asked: dict[str, Any]) -> None:
    assert both(serving, f"Like {CALL} or so.</think>Hello!", **asked) == Message(
        f"Like {CALL} or so.", "Hello!", finish="stop"
    )


def test_a_demanded_call_comes_as_json_after_the_thought(serving: Serving) -> None:
    text = 'I must call.</think>[{"name": "now", "parameters": {"a": 1}}]'
    whole = serving.whole(text, tools=TOOLS, tool_choice="required")
    assert (whole.thought, whole.calls) == ("I must call.", [("now", '{"a": 1}')])
    streamed = serving.stream(list(text), tools=TOOLS, tool_choice="required")
    assert (streamed.thought, streamed.calls) == (whole.thought, whole.calls)


def test_thoughts_can_be_left_in_the_answer(serving: Serving) -> None:
    text = "Hm.</think>Hello!"
    assert both(serving, text, separate_reasoning=False) == Message("", text, finish="stop")


def test_a_thought_can_come_in_one_piece(serving: Serving) -> None:
    text = "One. Two. Three.</think>Hello!"
    message = serving.stream(list(text), stream_reasoning=False)
    assert (message, message.chunks) == (serving.whole(text), 1 + len("Hello!"))
    cut = serving.stream(list("One. Two"), "length", stream_reasoning=False)
    assert (cut, cut.chunks) == (Message("One. Two", "", finish="length"), 1)


@pytest.mark.parametrize(("prefix", "thought", "answer"), [("Hm. </think>The", "", " sky"), ("Hm.", "sky", "")])
def test_a_continued_answer_begins_where_its_prefix_ends(
    serving: Serving, prefix: str, thought: str, answer: str
) -> None:
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": prefix}]
    message = both(serving, " sky", messages=messages, continue_final_message=True)
    assert (message.thought, message.content) == (thought, answer)


FRAGMENTS = [
    *("<think>", "</think>", CALL, "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>"),
    *("now", "later", "<", "</", "</th", "<tool_c", " ", "\n", "Hello", ".", "a b"),
]
ASKED: list[dict[str, Any]] = [
    {},
    {"tools": TOOLS},
    {"stream_reasoning": False},
    {"tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}},
    {"chat_template_kwargs": {"enable_thinking": False}},
]


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join), asked=st.sampled_from(ASKED), data=st.data()
)
def test_a_stream_gives_what_the_whole_text_gives(
    serving: Serving, text: str, asked: dict[str, Any], data: Any
) -> None:
    parser = importlib.import_module("sglang.srt.parser.reasoning_parser").ReasoningParser
    thinks = serving.chat._get_enable_thinking_from_request(serving.request(**asked))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))

    def parsed(pieces: list[str]) -> tuple[str, str]:
        detector = parser("glm45", asked.get("stream_reasoning", True), thinks).detector
        detector.expect_calls(serving.request(**asked), "glm47")
        found = [detector.parse_chunk(piece, None) for piece in pieces[:-1]]
        found.append(detector.parse_chunk(pieces[-1], {"type": "stop"}))
        return "".join(thought for thought, _ in found), "".join(answer for _, answer in found)

    whole = parsed([text])
    assert parsed([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == whole
    assert parsed(list(text) or [""]) == whole
    kept = "".join("".join(whole).split())
    lost = text.count("<think>") * len("<think>") + len("</think>")
    assert len("".join(text.split())) - lost <= len(kept) <= len("".join(text.split()))


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_get_what_they_got(name: str, tmp_path: Path) -> None:
    """Every other parser, before and after the patch, on the same streams."""
    texts = [f"<think>a{CALL}</think>b", "a</think>b", "plain", "◁think▷a◁/think▷b", f"a{CALL}", "<think>cut", "a <"]
    answers = []
    for patched in (False, True):
        tree = unpack(VERSIONS[-1], tmp_path / str(patched))
        if patched:
            assert patch.main(["apply", str(tree), "--manifest", str(ROOT / "patches")]) == 0
        with imported(tree):
            serving = Serving(name, "qwen25")
            asked = [{}, {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}, {"tools": TOOLS}]
            answers.append(
                [(serving.whole(text, **one), serving.stream(list(text), **one)) for text in texts for one in asked]
            )
    assert answers[0] == answers[1]


@pytest.mark.parametrize("piece", ["think ", "<tool_call>", "<tool_call>now", "</th", " ", "\n", "<", "<think>", CALL])
def test_the_cost_is_linear_in_the_text(serving: Serving, piece: str) -> None:
    parser = importlib.import_module("sglang.srt.parser.reasoning_parser").ReasoningParser

    def seconds(size: int, thinks: bool) -> float:
        text = piece * (size // len(piece))
        detector = parser("glm45", True, thinks).detector
        begin = time.process_time()
        for at in range(0, len(text), 4):
            detector.parse_chunk(text[at : at + 4], None)
        return time.process_time() - begin

    for thinks in (True, False):
        small = min(seconds(20_000, thinks) for _ in range(3))
        assert min(seconds(160_000, thinks) for _ in range(2)) < 8 * 4 * small
