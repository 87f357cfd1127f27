"""What came of a run, as text for people and as JSON. Measures and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deploy.grid import grid
from deploy.kernels.table import Config
from deploy.tune.comparison import Compared, Comparison, Side
from deploy.tune.picture import Lines
from deploy.tune.search import GEMMS, Found
from deploy.tune.tables import where
from deploy.tune.task import Results, Task
from deploy.workflow.tuning.order import Order
from deploy.workflow.tuning.plan import routing

DEFAULT = "the default"


@dataclass(frozen=True)
class Outcome:
    """`comparison` is old (A) against new (B) where they differ, and `compared` what came of it; `written` names the
    tables that are new or changed; `had_tables` is False where what was there before is SGLang's default."""

    order: Order
    task: Task
    results: Results
    comparison: Comparison
    compared: Mapping[int, Compared]
    facts: Mapping[str, Any]
    written: tuple[str, ...]
    had_tables: bool

    def bound(self, tokens: int) -> float | None:
        """Seconds; None where the routing allows for none."""
        return self.task.bound(tokens) if self.task.bounded else None

    @property
    def before(self) -> str:
        """What was there, in words."""
        return "the table that was there" if self.had_tables else DEFAULT

    @property
    def lines(self) -> Lines:
        """For the picture; what was there before as it ran beside what was found."""
        found = {size: one.seconds for size, one in self.results.found.items()}
        same = (size for size in self.results.found if size not in self.comparison.pairs)
        before = {size: self.results.found[size].seconds for size in same}
        before |= {size: one.a.seconds for size, one in self.compared.items() if not one.a.failed}
        return Lines(found, before, {size: self.task.bound(size) for size in found if self.task.bounded}, self.before)

    @property
    def where(self) -> str:
        """What measured, in words."""
        return where(self.facts["device"], self.facts["nodes"])

    @property
    def title(self) -> str:
        name = self.order.file("up").stem
        return f"{name}\non {self.where}, {routing(self.order)} routing"

    def as_json(self) -> dict[str, Any]:
        """Everything, in seconds and tokens."""
        return {
            "device": self.facts["device"],
            "facts": dict(self.facts),
            "shape": asdict(self.order.problem.shape),
            "before": "tables" if self.had_tables else "default",
            "files": {gemm: str(self.order.file(gemm)) for gemm in GEMMS},
            "written": list(self.written),
            "journal": str(self.order.journal),
            "sizes": [_size_json(one, self) for _, one in sorted(self.results.found.items())],
            "failed": {str(size): why for size, why in self.results.failed.items()},
        }

    def as_text(self) -> str:
        """A line a batch size: what was found, what it is of the bound, and against what was there."""
        head = "tokens", "up", "down", "found, µs", "spread", "of bound", "before, µs", "after, µs", "after is"
        rows: list[tuple[str, ...]] = [head]
        rows += [_row(one, self) for _, one in sorted(self.results.found.items())]
        lines = [
            f"on {self.where}; both GEMMs together, each M x N x K with group, warps and stages",
            f"before is {self.before}; before and after were timed in turns",
        ]
        failed = (f"{size} tokens: {why}" for size, why in sorted(self.results.failed.items()))
        return "\n".join([*lines, *("  " + line for line in grid(rows)), *failed])


def _row(found: Found, outcome: Outcome) -> tuple[str, ...]:
    spread = max(one.spread for one in found.best.values())
    bound = outcome.bound(found.tokens)
    share = f"{found.seconds / bound:.2f}" if bound else "-"
    up, down = (short(found.best[gemm].config) for gemm in GEMMS)
    mine = str(found.tokens), up, down, f"{found.seconds * 1e6:.1f}", f"{spread:.1%}", share
    one = outcome.compared.get(found.tokens)
    if one is None:
        differs = found.tokens in outcome.comparison.pairs
        return (*mine, "-", "-", "another; not timed beside it" if differs else "the same as before")
    return (*mine, _side(one.a), _side(one.b), _said(one))


def _said(one: Compared) -> str:
    if one.a.failed:
        return "the old one cannot run"
    if one.verdict == "slower":
        return f"slower, {1 / one.ratio:.2f} times as fast: what was there is kept"
    return f"{one.verdict}, {1 / one.ratio:.2f} times as fast" if one.ratio else one.verdict


def _side(side: Side) -> str:
    return "fails" if side.failed else f"{side.seconds * 1e6:.1f}"


def left_out(found: Found) -> str:
    """That kernels of a batch size were wrong or could not run, and which was the first."""
    gemm, config, why = found.dropped[0]
    more = f", and {len(found.dropped) - 1} more (--json names them)" if len(found.dropped) > 1 else ""
    return f"{found.tokens} tokens: left out: {gemm} {short(config)}: {why.splitlines()[0]}{more}"


def short(config: Config) -> str:
    """`16x64x256 g1 w4 s3`."""
    tile = f"{config.block_m}x{config.block_n}x{config.block_k}"
    return f"{tile} g{config.group_m} w{config.num_warps} s{config.num_stages}"


def _size_json(found: Found, outcome: Outcome) -> dict[str, Any]:
    one = outcome.compared.get(found.tokens)
    return {
        "tokens": found.tokens,
        "seconds": found.seconds,
        "bound": outcome.bound(found.tokens),
        **{
            gemm: {**best.config.as_json(), "seconds": best.seconds, "spread": best.spread, "error": best.error}
            for gemm, best in found.best.items()
        },
        "dropped": [{"gemm": gemm, **config.as_json(), "why": why} for gemm, config, why in found.dropped],
        "compared": compared_json(one) if one else None,
    }


def compared_json(one: Compared) -> dict[str, Any]:
    """A and B at one batch size, in seconds; `ratio` is B's over A's."""
    return {**asdict(one), "verdict": one.verdict}


def compared_text(names: Sequence[str], found: Mapping[int, Compared]) -> str:
    """A line a batch size; microseconds of up, down and both, with the spread of both."""
    rows: list[tuple[str, ...]] = [("tokens", "GEMMs", "A, µs", "B, µs", "B/A", "rounds", "B is")]
    rows += [row for _, one in sorted(found.items()) for row in _compared_rows(one)]
    return "\n".join([f"A is {names[0]}", f"B is {names[1]}", *grid(rows)])


def _compared_rows(one: Compared) -> Iterator[tuple[str, ...]]:
    ratio = f"{one.ratio:.3f}" if one.ratio else "-"
    rounds = f"{one.low:.3f} to {one.high:.3f}" if one.ratio else "-"
    both = [_side(side) + (f" ±{side.spread / 2:.1%}" if not side.failed else "") for side in (one.a, one.b)]
    yield str(one.tokens), "both", *both, ratio, rounds, one.verdict
    for gemm in GEMMS:
        yield "", gemm, *(f"{side.gemms[gemm] * 1e6:.1f}" if side.gemms else "-" for side in (one.a, one.b)), "", "", ""
    for name, side in (("A", one.a), ("B", one.b)):
        if side.failed:
            yield "", f"{name} fails", side.failed.splitlines()[0], "", "", "", ""
