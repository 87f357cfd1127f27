from __future__ import annotations

import json

import pytest

from deploy.bench.client import Failure, Raw
from deploy.bench.reading import lines, read_stream, read_whole
from tests.unit.bench.answers import DONE, event, raw

USAGE = {"prompt_tokens": 5, "completion_tokens": 3}
END = ((0.4, event({}, "stop")), (0.4, event(None, None, USAGE)), (0.4, DONE))


def test_text_thought_and_calls_are_put_together_and_only_what_carries_them_is_timed() -> None:
    first = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]}
    second = {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}
    parts = [{"role": "assistant", "content": ""}, {"reasoning_content": "hm"}, {"content": "hi"}, first, second]
    answer = read_stream(raw(*((number / 10, event(delta)) for number, delta in enumerate(parts)), *END))
    assert (answer.reasoning, answer.text, answer.finish) == ("hm", "hi", "stop")
    assert [(call.id, call.name, call.arguments) for call in answer.calls] == [("c1", "f", '{"a": 1}')]
    assert answer.times == (0.1, 0.2, 0.3, 0.4)
    assert (answer.completion_tokens, answer.failure, answer.ended) == (3, None, 0.4)


def test_a_line_has_the_time_of_its_last_byte_however_it_was_cut() -> None:
    whole = event({"content": "é"})
    cut = raw((0.1, whole[:9]), (0.2, whole[9:] + whole + DONE[:3]), (0.3, DONE[3:]))
    assert [at for at, line in lines(cut) if line] == [0.2, 0.2, 0.3]


def test_half_of_a_character_that_was_cut_in_two_is_no_failure() -> None:
    half = b'data: {"choices": [{"delta": {"content": "\\ud83d"}, "finish_reason": null}]}\n\n'
    answer = read_stream(raw((0.1, half), *END))
    assert (answer.text, answer.failure) == ("\ud83d", None)


def test_tokens_of_the_first_chunk_are_known_where_the_server_counts_as_it_goes() -> None:
    counted = event({"content": "a"}, None, {"completion_tokens": 2, "prompt_tokens": 5})
    assert read_stream(raw((0.1, counted), *END)).first_tokens == 2
    assert read_stream(raw((0.1, event({"content": "a"})), *END)).first_tokens is None


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([(0.1, b'data: {"choices": [\n\n')], "malformed"),
        ([(0.1, b"data: []\n\n"), *END], "malformed"),
        ([(0.1, b'data: {"choices": [{"finish_reason": null}]}\n\n'), *END], "malformed"),
        ([(0.1, b'data: {"error": "out of memory"}\n\n')], "error"),
        ([(0.1, event({"content": "a"})), (0.2, DONE)], "unfinished"),
        ([(0.1, event({"content": "a"}, "stop"))], "unfinished"),
        ([(0.1, event({"content": "a"}, "stop")), (0.2, DONE)], "unfinished"),
    ],
)
def test_what_is_no_whole_answer_is_named(pieces: list[tuple[float, bytes]], kind: str) -> None:
    failure = read_stream(raw(*pieces)).failure
    assert failure is not None
    assert failure.kind == kind


def test_what_the_client_saw_comes_before_what_follows_from_it() -> None:
    cut = Raw(200, (0.1,), (event({"content": "a"})[:-9],), 0.2, failure=Failure("cut", "it ended"))
    assert read_stream(cut).failure == Failure("cut", "it ended")


def test_a_whole_answer_is_read_and_one_that_is_none_is_malformed() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
    told = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    answer = read_whole(raw((0.5, json.dumps(told).encode())))
    assert (answer.text, answer.reasoning, answer.calls[0].name, answer.seconds) == ("", "hm", "f", 0.5)
    for body in (b"no", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}'):
        failure = read_whole(raw((0.5, body))).failure
        assert failure is not None
        assert failure.kind == "malformed"
