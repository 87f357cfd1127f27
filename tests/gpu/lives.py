"""The servers of bench_run.py and what each is asked; data and pure functions alone.

All of them run at once on one GPU: how long anything takes is not what is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.gpu.adapt import Launch, adapted, replaced, server_flags

CONTEXT = 32768
# Every sixteenth token ends an answer: a model without sense would else go on until max_tokens, and an end in the
# middle of what a verification accepted is where counts could differ.
ENDS = list(range(0, 512, 16))
# They share a GPU, so none takes the memory that another has measured.
SHARED = {"--mem-fraction-static": "0.3", "--max-total-tokens": "200000", "--context-length": str(CONTEXT)}
SHARED |= {"--cuda-graph-max-bs": "4", "--load-format": "auto"}
COUNTING = {"--log-requests-level": "0", "--log-requests-format": "json"}
COUNTING_ALWAYS = ("--log-requests", "--enable-metrics")
# Without speculation it would compile graphs for prompts of 58 sizes first; EAGLE has none either.
REAL_ALONE = ("--disable-prefill-cuda-graph",)
# SGLang adds up what was accepted every 40 steps: a request's rest is in no average.
EVERY_STEP = {"--decode-log-interval": "1"}
LACKING = ("--log-requests-format", "--max-total-tokens")
"""Flags whose values the stand-in's own version of SGLang does not know, or which say nothing to it."""
SIMULATED = 2.5

SMALL = "--repeats 2 --seed 7 --tokens 160 --lengths 512,2048"
LOAD = "--repeats 1 --seed 7 --tokens 96 --lengths 256 --concurrency 1,4 --rates 4 --requests 8"


@dataclass(frozen=True)
class Step:
    """One run of the toolkit: a suite and its options, and the seconds that it may take."""

    suite: str
    options: str
    seconds: float = 90


@dataclass(frozen=True)
class Life:
    """One server: what of its launch differs from what `up` gives, and what it is asked."""

    name: str
    about: str
    steps: tuple[Step, ...]
    flags: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    speculates: bool = True


EAGLE = Step("eagle", SMALL)
LIVES = (
    Life(
        "eagle",
        "EAGLE as `up` starts it, with what was accepted added up at every step instead of every 40",
        (
            Step("context", SMALL),
            EAGLE,
            Step("load", LOAD, 120),
            Step("beside", "", 60),
            Step("agentic", "--repeats 2 --seed 7", 60),
            Step("thinking", "--repeats 1 --seed 7", 120),
            Step("toolcall", "--repeats 1 --seed 7", 180),
        ),
        EVERY_STEP,
    ),
    Life("as-shipped", "EAGLE as `up` starts it", (Step("eagle", SMALL.replace("160", "512")),)),
    Life(
        "simulated",
        f"EAGLE with SGLang's own simulation of an accept length of {SIMULATED} (SGLANG_SIMULATE_ACC_LEN)",
        (EAGLE, Step("load", LOAD, 120)),
        EVERY_STEP,
        {"SGLANG_SIMULATE_ACC_LEN": str(SIMULATED)},
    ),
    Life("plain", "without speculation", (Step("context", SMALL), EAGLE), speculates=False),
)


def launch(life: Life, number: int, given: Mapping[str, object], site: Path, model: Path, stand_in: bool) -> Launch:
    """The life's server on a port of its own; `given` is what `up` gives the only rank of a cluster."""
    one = adapted(given, sys.executable, site, model)
    argv = server_flags(one.argv)
    if not life.speculates:
        argv = without_speculation(argv)
    port = one.port + 10 * number
    wanted = SHARED | COUNTING | life.flags | {"--port": str(port)}
    argv = replaced(argv, {flag: value for flag, value in wanted.items() if not (stand_in and flag in LACKING)})
    words = (*one.argv[:3], *argv, *COUNTING_ALWAYS, *(() if stand_in else REAL_ALONE))
    return Launch(number, words, {**one.env, **life.environment}, port)


def without_speculation(argv: list[str]) -> list[str]:
    """argv less every flag of speculation and its value."""
    pairs = [(word, at) for at, word in enumerate(argv) if word.startswith("--speculative-")]
    gone = {index for _, at in pairs for index in (at, at + 1)}
    return [word for at, word in enumerate(argv) if at not in gone]


def words(step: Step, url: str, model: Path, out: Path) -> list[str]:
    """The toolkit's command line for a step."""
    more = ["--tokenizer", str(model)] if step.suite == "load" else []
    return ["bench", "run", step.suite, "--url", url, "--out", str(out), *step.options.split(), *more]
