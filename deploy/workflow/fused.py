"""`bench kernels`: implementations of the fused MoE layer on this machine's GPU, first right, then timed in turns."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from deploy.errors import ConfigError, KernelError, TuneError
from deploy.event import Event, Note, Progress
from deploy.kernels.setting import Setting
from deploy.tune.fused import implementation, report
from deploy.tune.fused.device import Device, failure, fatal
from deploy.tune.fused.implementation import NAMES, TITLES
from deploy.tune.fused.picture import draw
from deploy.tune.fused.result import Cell, Results, bound
from deploy.tune.fused.sources import folders, installed, versions
from deploy.tune.problem import Problem
from deploy.workflow.tuning.order import whole

SIZES = tuple(2**power for power in range(3, 14))
"""Tokens: 8 to 8192."""
ROUNDS, REPLAYS = 7, 3


@dataclass(frozen=True)
class Order:
    """`sglang` is the version whose layer is run, `source` where the shape is from, `into` a folder."""

    problem: Problem
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    sglang: str
    source: str
    into: Path

    @property
    def title(self) -> str:
        """The shape, as tables are named."""
        shape = self.problem.shape
        scales = f" {shape.block[0]}x{shape.block[1]} blocks" if shape.block else " per channel" * shape.per_channel
        return f"E={shape.experts}, N={shape.intermediate}, K={shape.hidden}, top {shape.top_k}, {shape.dtype}{scales}"

    @property
    def stem(self) -> str:
        """Of the files: one name a shape."""
        shape = self.problem.shape
        scales = f"-{shape.block[0]}x{shape.block[1]}" if shape.block else "-channel" * shape.per_channel
        return f"E{shape.experts}-N{shape.intermediate}-K{shape.hidden}-top{shape.top_k}-{shape.dtype}{scales}"


class Measuring(Protocol):
    """What answers as device.Device does."""

    def check(self, name: str, tokens: int) -> dict[str, Any]: ...
    def time(self, name: str, tokens: int, replays: int) -> dict[str, Any]: ...


def order(setting: Setting, names: Sequence[str], sizes: Sequence[int], into: Path, **routing: Any) -> Order:
    """Put together what is to be measured; `routing` is Problem's `skew` and `recorded`. Raises ConfigError."""
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"--implementations {name}: is not known here", f"known: {', '.join(NAMES)}")
    shape = whole(setting.shape)
    problem = Problem(shape, setting.target.gpu, filter_expert=setting.split.ep > 1, **routing)
    chosen = tuple(dict.fromkeys(names or NAMES))
    if all(implementation.refusal(name, shape) for name in chosen):
        raise ConfigError(f"none of {', '.join(chosen)} has {shape.dtype}", "name sglang or vllm beside them")
    return Order(problem, chosen, tuple(sorted(set(sizes or SIZES))), setting.target.sglang, setting.source, into)


def measured(order: Order) -> Generator[Event, None, Results]:
    """On this machine's GPU. Raises TuneError and BuildError where nothing can be measured."""
    for package in ("torch", "triton"):
        installed(package)
    if order.problem.recorded and not Path(order.problem.recorded).is_dir():
        raise TuneError(f"--topk-ids-dir {order.problem.recorded}: is no folder here", "name one on this machine")
    yield Note(f"{order.title} ({order.source})")
    wanted = [name for name in order.names if not implementation.refusal(name, order.problem.shape)]
    with closing(Device(order.problem)) as device:
        facts = device.facts()
        yield Note("what is not installed or kept comes from PyPI, where a wheel may be of 500 MB")
        device.folders = folders(wanted, order.sglang)
        told = {**facts, "versions": versions(device.folders, wanted)}
        return (yield from contest(order, device, told))


def contest(order: Order, device: Measuring, facts: Mapping[str, Any]) -> Generator[Event, None, Results]:
    """All sizes, the results written after each. Raises TuneError."""
    _see_that_it_fits(order, facts)
    yield Note(f"on {facts['device']}; {facts['operators']} between the products")
    results = Results(order.names, {**facts, "title": order.title, "source": order.source, "sglang": order.sglang})
    turns = Turns(order, device, facts["memory"])
    for at, tokens in enumerate(order.sizes):
        results.cells[tokens] = yield from turns.size(tokens)
        write(order, results)
        yield Progress("sizes", at + 1, len(order.sizes), "batch sizes")
    yield from _picture(order, results)
    return results


def _see_that_it_fits(order: Order, facts: Mapping[str, Any]) -> None:
    needed = implementation.weight_bytes(order.problem.shape, order.names)
    if needed > 0.9 * facts["memory"]:
        message = f"the layer's weights are {needed / 1e9:.1f} GB, and the GPU has {facts['memory'] / 1e9:.1f} GB"
        raise TuneError(message, "take more ranks (--tp-size or --ep-size)")


@dataclass
class Turns:
    """Asks a device; `out` says why an implementation that was wrong, or ended the process, is asked no more."""

    order: Order
    device: Measuring
    memory: int
    out: dict[str, str] = field(default_factory=dict)

    def size(self, tokens: int) -> Generator[Event, None, dict[str, Cell]]:
        """One batch size: all are checked, then those that are right are timed in rounds; who begins goes round."""
        cells = {name: self._first(name, tokens) for name in self.order.names}
        for number in range(-1, ROUNDS):
            live = [name for name, cell in cells.items() if not (cell.skipped or cell.failed)]
            at = number % max(len(live), 1)
            for name in live[at:] + live[:at]:
                cells[name] = self._timed(name, tokens, cells[name], counted=number >= 0)
        for name, cell in cells.items():
            if cell.failed:
                yield Note(f"{TITLES[name]} is dropped at {tokens} tokens: {cell.failed.splitlines()[0]}", "warning")
        return {name: replace(cell, rounds=()) if cell.failed else cell for name, cell in cells.items()}

    def _first(self, name: str, tokens: int) -> Cell:
        """Its error against float32, without a timing yet."""
        shape = self.order.problem.shape
        if why := implementation.refusal(name, shape) or implementation.too_large(name, shape, tokens, self.memory):
            return Cell(skipped=why)
        if name in self.out:
            return Cell(failed=self.out[name])
        found = self.device.check(name, tokens)
        if why := self._failure(name, found):
            return Cell(failed=why)
        if not found["error"] <= bound(shape):
            self.out[name] = f"wrong: its error against float32 is {found['error']:.2%} at {tokens} tokens"
            return Cell(failed=self.out[name])
        return Cell(error=found["error"], table=found["table"])

    def _timed(self, name: str, tokens: int, cell: Cell, *, counted: bool) -> Cell:
        """One round more, of which the median counts. The first does not: a GPU that waited has low clocks."""
        found = self.device.time(name, tokens, REPLAYS)
        if why := self._failure(name, found):
            return replace(cell, failed=why)
        return replace(cell, rounds=(*cell.rounds, median(found["seconds"]))) if counted else cell

    def _failure(self, name: str, found: Mapping[str, Any]) -> str:
        if fatal(found):
            self.out[name] = failure(found)
        return failure(found)


def write(order: Order, results: Results) -> None:
    """JSON and CSV. Raises TuneError."""
    try:
        order.into.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report.as_json(results), indent=1) + "\n"
        (order.into / f"{order.stem}.json").write_text(text, encoding="utf-8")
        (order.into / f"{order.stem}.csv").write_text(report.as_csv(results), encoding="utf-8")
    except OSError as error:
        raise TuneError(f"{order.into}: {error.strerror}", "name another folder: --save-path") from None


def _picture(order: Order, results: Results) -> Generator[Event, None, None]:
    """Without matplotlib there is none, and it is said."""
    file = order.into / f"{order.stem}.svg"
    try:
        draw(results, f"{order.title}\non one {results.facts['device']}", file)
    except KernelError as error:
        yield Note(f"no picture: {error.message}; {error.hint}", "warning")
        return
    yield Note(f"wrote {file}, and .json and .csv beside it")


def judge(results: Results) -> None:
    """Raise TuneError where an implementation was wrong or failed."""
    found = results.failures()
    if found:
        tokens, name, why = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise TuneError(
            f"{TITLES[name]} was dropped at {tokens} tokens: {why.splitlines()[0]}{more}",
            "the others' figures hold; --implementations leaves one out",
        )
