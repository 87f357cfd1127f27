"""A validation set of tool calls: none, one, a choice, several at once, typed, nested, unicode, long code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deploy.bench.judging import Wanted, judged
from deploy.bench.results import Case, Repeat, Scalar
from deploy.bench.suite import Message, Plan, Setting, Steps, measured, repeat_of
from deploy.event import Event

MOST_TOKENS = 2048
Json = dict[str, Any]


def tool(name: str, description: str, **properties: Json) -> Json:
    """A function in OpenAI's format, all of whose parameters are required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def marked(tools: Sequence[Json], mark: str) -> list[Json]:
    """The tools with a mark in the first one's description: chat templates put tools before all that is asked."""
    first, *rest = tools
    function = first["function"]
    return [{**first, "function": {**function, "description": f"{mark} {function['description']}"}}, *rest]


TEXT, WHOLE, REAL, FLAG = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
WEATHER = tool("get_weather", "The forecast for a city.", city=TEXT, days=WHOLE)
CONVERT = tool("convert_currency", "Convert an amount of money.", amount=REAL, source=TEXT, target=TEXT)
ALARM = tool("set_alarm", "Set an alarm.", hour=WHOLE, minute=WHOLE, repeat=FLAG)
ORDER = tool(
    "place_order",
    "Order goods for a customer.",
    customer={"type": "object", "properties": {"name": TEXT, "vip": FLAG}, "required": ["name", "vip"]},
    items={
        "type": "array",
        "items": {"type": "object", "properties": {"sku": TEXT, "count": WHOLE}, "required": ["sku", "count"]},
    },
    express=FLAG,
)
SAVE = tool("save_code", "Write source code to a path.", path=TEXT, code=TEXT)
CODE = "\n".join(
    [
        "import re",
        "",
        "",
        *(f'def step_{n}(text: str) -> str:\n    return re.sub(r"<{n}>\\s*", "&{n};", text)\n\n' for n in range(12)),
    ]
).strip()


@dataclass(frozen=True)
class Task:
    """One request and the calls that it must bring."""

    name: str
    tools: Sequence[Json]
    prompt: str
    wanted: Sequence[Wanted]


TASKS = (
    Task("no call", (WEATHER, ALARM), "Say hello in one short sentence. Call nothing.", ()),
    Task(
        "one call",
        (WEATHER,),
        'What will the weather in "Lisbon" be over the next 3 days?',
        (Wanted("get_weather", {"city": "Lisbon", "days": 3}),),
    ),
    Task(
        "one of several tools",
        (WEATHER, CONVERT, ALARM, SAVE),
        'Convert 12.5 from "EUR" to "JPY", please.',
        (Wanted("convert_currency", {"amount": 12.5, "source": "EUR", "target": "JPY"}),),
    ),
    Task(
        "two tools at once",
        (WEATHER, ALARM),
        'Two things at once: the weather in "Porto" for 6 days, and a daily alarm at 6:30 that repeats.',
        (
            Wanted("get_weather", {"city": "Porto", "days": 6}),
            Wanted("set_alarm", {"hour": 6, "minute": 30, "repeat": True}),
        ),
    ),
    Task(
        "one tool three times",
        (WEATHER,),
        "Get the weather for 2 days in each of these cities, all in one answer: Oslo, Rome and Lima.",
        tuple(Wanted("get_weather", {"city": city, "days": 2}) for city in ("Oslo", "Rome", "Lima")),
    ),
    Task(
        "types",
        (ALARM,),
        "Set an alarm at 7:05. It must not repeat.",
        (Wanted("set_alarm", {"hour": 7, "minute": 5, "repeat": False}),),
    ),
    Task(
        "nested arguments",
        (ORDER,),
        "Place an order for the customer Ada Byron, who is a VIP: 2 of sku A-17 and 40 of sku B-3. Not express.",
        (
            Wanted(
                "place_order",
                {
                    "customer": {"name": "Ada Byron", "vip": True},
                    "items": [{"sku": "A-17", "count": 2}, {"sku": "B-3", "count": 40}],
                    "express": False,
                },
            ),
        ),
    ),
    Task(
        "unicode",
        (WEATHER,),
        'What will the weather in "Þórshöfn 東京 🌦 <city>" be over the next 4 days? Give the name as it is written.',
        (Wanted("get_weather", {"city": "Þórshöfn 東京 🌦 <city>", "days": 4}),),
    ),
    Task(
        "long code",
        (SAVE,),
        f'Save this code to "src/steps.py", every character as it is:\n\n```python\n{CODE}\n```',
        (Wanted("save_code", {"path": "src/steps.py", "code": CODE}),),
    ),
)


def run(setting: Setting) -> Iterator[Event | Case]:
    """Every task streamed and whole; `correct` is the share of answers whose calls are exactly those wanted."""
    steps = Steps("toolcall", 2 * len(TASKS) * setting.wish.repeats)
    for task in TASKS:
        for streamed in (True, False):
            parameters: dict[str, Scalar] = {"task": task.name, "streamed": streamed, "calls": len(task.wanted)}
            asks: list[Callable[[], Repeat]] = [
                partial(_ask, setting, task, streamed, number) for number in range(setting.wish.repeats)
            ]
            name = f"{task.name}, {'streamed' if streamed else 'whole'}"
            yield from measured(Plan(name, parameters, asks), steps)


def _ask(setting: Setting, task: Task, streamed: bool, number: int) -> Repeat:
    tools = marked(task.tools, setting.mark(f"toolcall {task.name} {streamed} {number}"))
    messages: list[Message] = [{"role": "user", "content": task.prompt}]
    ask = setting.stream if streamed else setting.whole
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    answer = ask(messages, tools=tools, tool_choice="auto", max_tokens=MOST_TOKENS, extra=extra)
    if answer.failure:
        return repeat_of(answer)
    verdict = judged(answer, task.wanted)
    return replace(repeat_of(answer, correct=float(verdict.right)), error=verdict.text, kind=verdict.kind)
