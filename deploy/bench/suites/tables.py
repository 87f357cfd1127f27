"""Kernel tables against SGLang's default, without and with speculation; a crash is a result. Launches by a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from deploy.bench.facts import learn
from deploy.bench.results import Case, Repeat, Scalar
from deploy.bench.speculation import ask
from deploy.bench.stage import Fallen, Side
from deploy.bench.suite import Plan, Setting, Steps, calibrated, fell, measured, outcome
from deploy.bench.workload import Scale, text
from deploy.errors import BenchError
from deploy.event import Event, Note

SHORT, LONG = 64, 1024
"""Tokens of a prompt: SGLang's default has another configuration from as many tokens as there are experts."""
TASK = "Go on with this text in the same manner, as long as you can."
SIDES = (
    ("A", Side(speculation=False)),
    ("B", Side(speculation=False, tables=False)),
    ("C", Side(speculation=True, tables=False)),
)
AS_IT_RUNS = "as it runs"


@dataclass(frozen=True)
class Scenario:
    """One side by its letter, or the server as it runs, and how it is asked."""

    letter: str
    setting: Setting
    scale: Scale
    parameters: dict[str, Scalar]


def run(setting: Setting) -> Iterator[Event | Case]:
    """The server as it runs, then each side by a launch. Raises BenchError without a stage to launch on."""
    stage = setting.stage
    if stage is None:
        raise BenchError("`tables` launches servers, and --url names only one that runs", "give --nodes cluster.yaml")
    stage.check()
    steps = Steps("tables", (1 + len(SIDES)) * 2 * setting.wish.repeats)
    # Once, since it takes a long prompt, which is what a side may fall of.
    scale = calibrated(setting, "prose")
    yield from _scenario(Scenario(AS_IT_RUNS, setting, scale, {"scenario": AS_IT_RUNS, "tables": "as it runs"}), steps)
    used: dict[tuple[str, ...], str] = {}
    for letter, side in SIDES:
        began, parameters = (yield from stage.launch(side)), told(letter, side)
        if isinstance(began, Fallen):
            yield fell(f"{letter}: launch", parameters, began)
            yield steps.step(2 * setting.wish.repeats)
            continue
        other = used.setdefault(began.tables, letter)
        if other != letter:
            yield Note(f"{letter} uses what {other} does: {'; '.join(began.tables)}")
        served = {"served": 1.0, "launch_s": began.seconds}
        yield outcome(f"{letter}: launch", parameters | {"in_use": "; ".join(began.tables)}, served)
        again = replace(setting, facts=learn(setting.target, setting.facts.server.model))
        yield from _scenario(Scenario(letter, again, scale, parameters), steps)


def told(letter: str, side: Side) -> dict[str, Scalar]:
    """A side as parameters of its cases."""
    return {
        "scenario": letter,
        "tables": "tables" if side.tables else "SGLang's default",
        "speculation": "on" if side.speculation else "off",
    }


def _scenario(scenario: Scenario, steps: Steps) -> Iterator[Event | Case]:
    """A short and a long prompt. Where the server falls meanwhile, that is the last case and a result."""
    for word, tokens in (("short", SHORT), ("long", LONG)):
        name, parameters = f"{scenario.letter}: {word} prompt", scenario.parameters | {"tokens": tokens}
        for item in measured(Plan(name, parameters, _asks(scenario, tokens)), steps):
            if not isinstance(item, Case) or not item.failed or scenario.letter == AS_IT_RUNS:
                yield item
                continue
            assert scenario.setting.stage
            fallen = yield from scenario.setting.stage.fallen()
            yield fell(name, parameters, fallen, item) if fallen else item
            return


def _asks(scenario: Scenario, tokens: int) -> Iterator[Callable[[], Repeat]]:
    """Every side is asked with the same texts."""
    for number in range(scenario.setting.wish.repeats):
        length, seed = scenario.scale.length(tokens), scenario.setting.wish.seed
        said = text("prose", length, seed, f"tables {tokens} {number}")
        yield partial(ask, scenario.setting, f"{said}\n\n{TASK}")
