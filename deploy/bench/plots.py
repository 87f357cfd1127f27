"""What a report plots: the plots of each suite, and what a plot is made of; holds no data and draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.bench.results import Run

LABELS = {
    "ttft_s": "time to first token, s",
    "decode_tok_s": "decode, tokens a second",
    "total_s": "time to the last token, s",
    "step_s": "time of a decoding step, s",
    "b_over_a": "time with table B over that with table A",
    "accept_length": "accept length, tokens",
    "prefill_tok_s": "prefill, tokens a second",
    "completion_tokens": "tokens of the answer",
    "correct": "right answers, share",
    "output_tok_s": "throughput, tokens a second",
    "tpot_s": "time a token, s",
}
"""Figures in words; others are shown by their name."""
PARAMETERS = {"tokens": "context, tokens"}
"""What is swept, in words."""


@dataclass(frozen=True)
class Numbered:
    """A run with the number and the file by which the report names it."""

    number: int
    name: str
    run: Run


@dataclass(frozen=True)
class Point:
    """A median with its interval on each axis that has one; `x` is a place among `Plot.names` where these are given."""

    x: float
    y: float
    low: float
    high: float
    across: tuple[float, float] | None = None
    name: str = ""


@dataclass(frozen=True)
class Line:
    """Points that belong together, along the parameter `axis`.

    `run` is 0 for published figures; `variant` tells lines of one run apart. `fitted`: no measurements, but a line
    through them.
    """

    label: str
    run: int
    variant: int
    points: tuple[Point, ...] = ()
    failed: tuple[Point, ...] = ()
    axis: str = ""
    fitted: bool = False


@dataclass(frozen=True)
class Spec:
    """One plot of a suite: a figure over a parameter (`over`), over another figure (`against`), or case by case.

    `along`: over a figure that numbers the repeats of each case; equal numbers of all cases are put together. `fit`:
    the figures of a case that hold a line's value at 0 and its rise over 1,000. `apart`: parameters that neither part
    lines nor stand beside a case's name, since they tell of the outcome or the name says it.
    """

    suite: str
    figure: str
    title: str
    over: str = ""
    against: str = ""
    along: str = ""
    log: tuple[bool, bool] = (False, False)
    fit: tuple[str, str] = ("", "")
    apart: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["over", "against", "cases"]:
        return "over" if self.over or self.along else "against" if self.against else "cases"


@dataclass(frozen=True)
class Plot:
    """A spec with its data. `names` are the cases of a plot case by case, first at the top."""

    spec: Spec
    lines: tuple[Line, ...]
    names: tuple[str, ...] = ()
    note: str = ""


STEP = ("step_at_zero_s", "step_per_1k_tokens_s")
SPECS = (
    Spec("context", "ttft_s", "Context against time to first token", over="tokens", log=(True, True)),
    Spec("context", "decode_tok_s", "Context against decode speed", over="tokens", log=(True, False)),
    Spec("context", "prefill_tok_s", "Context against prefill speed", over="tokens", log=(True, False)),
    Spec("context", "step_s", "Context against the time of a step", over="tokens", fit=STEP),
    Spec("agentic", "total_s", "Time of each turn", along="turn"),
    Spec("agentic", "correct", "Right calls of each turn", along="turn"),
    Spec("agentic", "ttft_s", "Time to first token of each turn", along="turn"),
    Spec("eagle", "accept_length", "Accept length by text"),
    Spec("eagle", "decode_tok_s", "Decode speed by text"),
    Spec("tables", "decode_tok_s", "Kernel tables and EAGLE"),
    Spec("thinking", "total_s", "Time by way of thinking"),
    Spec("thinking", "completion_tokens", "Tokens by way of thinking"),
    Spec("thinking", "correct", "Right answers by way of thinking"),
    Spec("toolcall", "correct", "Right calls by task", apart=("streamed", "calls")),
    Spec("toolcall", "total_s", "Time by task", apart=("streamed", "calls")),
    Spec("load", "ttft_s", "Throughput against time to first token", against="output_tok_s"),
    Spec("load", "tpot_s", "Throughput against time a token", against="output_tok_s"),
    Spec("kernels", "b_over_a", "Table B against table A", over="tokens", log=(True, False), apart=("verdict",)),
)
