"""`bench run kernels`: what `tune compare` finds on this machine's GPU, as cases; asks no server."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from deploy.bench.results import Case, Figure, Repeat, Scalar
from deploy.bench.suite import Setting, Suite
from deploy.event import Event, Note
from deploy.tune.comparison import ROUNDS, Compared, Side
from deploy.workflow.tuning.compare import DEFAULT, compared, sides
from deploy.workflow.tuning.here import Here
from deploy.workflow.tuning.order import Order

ABOUT = (
    f"medians of {ROUNDS} rounds in turns; b_over_a has the least and the greatest of them for its interval, which for "
    "so many is the 95 % interval of the median; a_s and b_s have the range of the rounds at either side"
)


def names_of(order: Order) -> tuple[str, str]:
    """SGLang's default, and the table that the image carries for this model."""
    return DEFAULT, str(order.file("up"))


def suite(order: Order, names: tuple[str, str]) -> Suite:
    """Table B against table A. Raises ConfigError where one is no table, TuneError where no GPU is at hand."""

    def run(setting: Setting) -> Generator[Event | Case, None, None]:  # noqa: ARG001 - no server is asked
        both = sides(names, order)
        here = Here(order.problem, order.target.sglang)
        found = yield from compared(replace(order, sizes=both.sizes), both, here, None)
        yield Note(f"A is {names[0]}")
        yield Note(f"B is {names[1]}")
        yield Note(ABOUT)
        for _, one in sorted(found.items()):
            yield case(one)

    return run


def case(one: Compared) -> Case:
    """One batch size. A side that cannot run is a result: it has no figures, and says why."""
    name = f"{one.tokens} tokens"
    parameters: dict[str, Scalar] = {"tokens": one.tokens, "verdict": one.verdict}
    failed: dict[str, Scalar] = {
        f"{side}_failed": its.failed for side, its in (("a", one.a), ("b", one.b)) if its.failed
    }
    if failed:
        return Case(name, parameters | failed)
    figures = {
        "a_s": _seconds(one.a),
        "b_s": _seconds(one.b),
        "b_over_a": Figure("ratio", one.ratio, one.low, one.high, ROUNDS, "lower"),
    }
    return Case(
        name, dict(parameters), figures, [Repeat(True, figures={key: it.median for key, it in figures.items()})]
    )


def _seconds(side: Side) -> Figure:
    spread = side.spread * side.seconds
    return Figure("s", side.seconds, side.seconds - spread, side.seconds + spread, ROUNDS, "lower")
