from __future__ import annotations

import pytest

from deploy.bench.judging import Wanted, judged
from deploy.bench.reading import Answer
from deploy.bench.suites.agentic import TOOLS, script
from deploy.bench.suites.thinking import puzzle, said
from deploy.bench.suites.toolcall import TASKS
from deploy.launch.streamed import Call

LISBON, ROME = Wanted("weather", {"city": "Lisbon", "days": 3}), Wanted("weather", {"city": "Rome", "days": 3})


def answer(*calls: tuple[str, str], text: str = "", finish: str = "tool_calls") -> Answer:
    return Answer(text, calls=tuple(Call(name, arguments) for name, arguments in calls), finish=finish)


RIGHT = ("weather", '{"days": 3, "city": " Lisbon "}')


@pytest.mark.parametrize(
    ("given", "wanted", "kind"),
    [
        (answer(RIGHT), [LISBON], ""),
        (answer(("weather", '{"city": "Rome", "days": 3.0}'), RIGHT), [LISBON, ROME], ""),
        (answer(text="Hello."), [], ""),
        (answer(RIGHT, finish="length"), [LISBON], "truncated"),
        (answer(text="<tool_call>weather"), [LISBON], "leaked markup"),
        (answer(("weather", '{"city": ')), [LISBON], "invalid arguments"),
        (answer(("weather", "[1]")), [LISBON], "invalid arguments"),
        (answer(text="It will rain."), [LISBON], "no call"),
        (answer(RIGHT), [], "unwanted call"),
        (answer(("forecast", "{}")), [LISBON], "wrong tool"),
        (answer(RIGHT, RIGHT), [LISBON], "wrong tool"),
        (answer(RIGHT, RIGHT), [LISBON, ROME], "wrong arguments"),
        (answer(("weather", '{"city": "Lisbon", "days": "3"}')), [LISBON], "wrong arguments"),
        (answer(("weather", '{"city": "Lisbon"}')), [LISBON], "wrong arguments"),
    ],
)
def test_every_way_to_be_wrong_has_its_name(given: Answer, wanted: list[Wanted], kind: str) -> None:
    assert judged(given, wanted).kind == kind


def test_every_task_wants_calls_that_its_own_tools_allow() -> None:
    asked = [(task.tools, task.wanted) for task in TASKS] + [(TOOLS, [turn.wanted]) for turn in script(None)]
    for tools, wanted in asked:
        known = {one["function"]["name"]: set(one["function"]["parameters"]["required"]) for one in tools}
        assert all(known[one.name] == set(one.arguments) for one in wanted)


def test_the_large_file_of_a_conversation_is_cut_to_the_servers_context() -> None:
    assert max(turn.size for turn in script(8192)) == 8192 < max(turn.size for turn in script(None))
    assert len(script(None)) >= 10


def test_a_puzzle_is_its_seeds_own_and_its_answer_is_read_in_the_form_that_was_asked_for() -> None:
    assert puzzle(1, 0) == puzzle(1, 0) != puzzle(2, 0)
    assert [said("so 7 it is.\n**Answer: 1,234**"), said("Answer: -3"), said("it is 7")] == [1234, -3, None]
