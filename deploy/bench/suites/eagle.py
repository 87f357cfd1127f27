"""Speculation on against off, on prose, code and random words: speed, accept length and rate; launches by a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from deploy.bench.facts import learn
from deploy.bench.results import Case, Repeat, Scalar
from deploy.bench.speculation import ask, speculates
from deploy.bench.stage import Fallen, Side
from deploy.bench.suite import Plan, Setting, Steps, calibrated, fell, measured
from deploy.bench.workload import KINDS, Kind, Scale, text
from deploy.event import Event, Note

PROMPT = 512
COUNTED = 128
"""Tokens of an answer below which SGLang may not have counted what was accepted: it does so every 40 steps."""
TASK: dict[Kind, str] = {
    "prose": "Go on with this text in the same manner, as long as you can.",
    "code": "Go on with this file in the same manner, as long as you can. Write code alone.",
    "random": "Go on with words as random as these, as long as you can.",
}


def run(setting: Setting) -> Iterator[Event | Case]:
    """Three cases a side: the running server's, then the other by a launch where there is a stage."""
    on = speculates(setting.facts)
    if setting.stage:
        setting.stage.check()
    if setting.wish.tokens < COUNTED:
        yield Note(
            f"accept lengths are rough under {COUNTED} tokens an answer: SGLang counts every 40 steps", "warning"
        )
    steps = Steps("eagle", (2 if setting.stage else 1) * len(KINDS) * setting.wish.repeats)
    yield from _side(setting, steps, on=on)
    if setting.stage is None:
        yield Note(f"speculation is {_word(on)} as this server runs: the other side takes a launch, by --nodes FILE")
        return
    began = yield from setting.stage.launch(Side(speculation=not on))
    if isinstance(began, Fallen):
        yield fell(f"speculation {_word(not on)}", {"speculation": _word(not on)}, began)
        return
    other = replace(setting, facts=learn(setting.target, setting.facts.server.model))
    yield from _side(other, steps, on=speculates(other.facts))


def _side(setting: Setting, steps: Steps, *, on: bool) -> Iterator[Event | Case]:
    for kind in KINDS:
        scale = calibrated(setting, kind)
        parameters: dict[str, Scalar] = {"speculation": _word(on), "text": kind}
        yield from measured(Plan(f"{kind}, speculation {_word(on)}", parameters, _asks(setting, scale, kind)), steps)


def _asks(setting: Setting, scale: Scale, kind: Kind) -> Iterator[Callable[[], Repeat]]:
    """Both sides are asked with the same texts."""
    prompt = setting.wish.lengths[0] if setting.wish.lengths else PROMPT
    for number in range(setting.wish.repeats):
        said = text(kind, scale.length(prompt), setting.wish.seed, f"eagle {kind} {number}")
        yield partial(ask, setting, f"{said}\n\n{TASK[kind]}")


def _word(on: bool) -> str:
    return "on" if on else "off"
