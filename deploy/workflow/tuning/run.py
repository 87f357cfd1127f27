"""`tune`: measure, find, compare with the tables that are there, write. The one flow, wherever it is measured."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from deploy.errors import KernelError, TuneError
from deploy.event import Event, Note
from deploy.kernels.install import put
from deploy.kernels.provenance import SUFFIX
from deploy.tune.comparison import Comparison, Pair, comparisons
from deploy.tune.journal import Journal
from deploy.tune.roofline import Ceilings
from deploy.tune.search import STAGES, Found
from deploy.tune.tables import Measured, files, merged
from deploy.tune.task import Task, longest_first, results
from deploy.tune.trial import Trial
from deploy.workflow.tuning.begin import begun
from deploy.workflow.tuning.order import Order
from deploy.workflow.tuning.outcome import Outcome, left_out
from deploy.workflow.tuning.record import recorded
from deploy.workflow.tuning.site import Site
from deploy.workflow.tuning.taken import Tables, pair_of, tables_at, tables_json, tables_of, with_entries


def tune(order: Order, site: Site) -> Generator[Event, None, Outcome]:
    """Find the tables and write them. A batch size without a result is told in `failed`. Raises DeployError."""
    before = tables_at(order.file("up"))
    with closing(site), closing((yield from begun(site, order.problem, order.journal))) as journal:
        return (yield from _tuned(order, before, site, journal))


def task_for(order: Order, facts: Mapping[str, Any]) -> Task:
    """Largest sizes first."""
    return Task(order.problem, longest_first(order.sizes), Ceilings.of(facts), order.only)


def _tuned(order: Order, before: Tables, site: Site, journal: Journal) -> Generator[Event, None, Outcome]:
    task = task_for(order, journal.facts)
    have = results(task, journal.known)
    todo = [size for size in task.sizes if size not in have.found and size not in have.failed]
    if journal.known:
        yield Note(f"{journal.path}: {len(journal.known)} measurements of before, {len(todo)} sizes are to be measured")
    journal.remark("before", tables_json(before))
    ended = yield from recorded(site, task, todo, journal)
    made = results(task, journal.known)
    made = replace(made, failed={**ended, **made.failed})
    missing = [size for size in task.sizes if size not in made.found and size not in made.failed]
    if missing:
        raise TuneError(f"{_listed(missing)} tokens were not measured to their end", "the same command goes on")
    for one in made.found.values():
        if one.dropped:
            yield Note(left_out(one), "warning")
    first = tables_of(journal.remarks["before"])
    comparison = _old_and_new(order, (before, first), made.found)
    yield from recorded(site, comparison, _unknown(comparison, journal), journal)
    compared = comparisons(comparison, journal.known)
    kept = [tokens for tokens, one in compared.items() if one.verdict == "slower"]
    if kept:
        yield Note(f"{_listed(kept)} tokens: what was there is faster in every round, and is kept", "warning")
    base = with_entries(before, {tokens: comparison.pairs[tokens][0] for tokens in kept})
    better = {tokens: one for tokens, one in made.found.items() if tokens not in kept}
    written = yield from _written(order, base, better, journal)
    facts = {**journal.facts, "nodes": _nodes(journal.known, journal)}
    return Outcome(order, task, made, comparison, compared, facts, written, bool(first))


def _old_and_new(order: Order, before: Sequence[Tables], found: Mapping[int, Found]) -> Comparison:
    """What lies there beside what was found; once that is the same, what lay there when the journal was begun."""
    pairs: dict[int, tuple[Pair, Pair]] = {}
    for tokens, one in found.items():
        new = {gemm: best.config for gemm, best in one.best.items()}
        olds = (pair_of(tables, tokens, order.problem, order.target) for tables in before)
        if other := next((old for old in olds if old != new), None):
            pairs[tokens] = other, new
    return Comparison(order.problem, pairs)


def _unknown(comparison: Comparison, journal: Journal) -> list[int]:
    known = comparisons(comparison, journal.known)
    return [size for size in longest_first(comparison.sizes) if size not in known]


def _written(
    order: Order, before: Tables, found: Mapping[int, Found], journal: Journal
) -> Generator[Event, None, tuple[str, ...]]:
    """Names of tables that are new or changed."""
    if not found:
        return ()
    measured = _measured(found, journal)
    made = list(found.values())
    try:
        tables = files(merged(made, before), made, order.problem, order.target, measured)
    except KernelError as error:
        if not before:
            raise
        yield Note(f"entries of before are left out: {error.message}", "warning")
        tables = files(merged(made, {}), made, order.problem, order.target, measured)
    new = put(tables, order.home, force=True)
    for name in tables:
        if not name.endswith(SUFFIX):
            yield Note(f"{'wrote' if name in new else 'unchanged:'} {order.home / name}", "done")
    return new


def _measured(found: Mapping[int, Found], journal: Journal) -> Measured:
    """What the provenance tells. Its time is the journal's, so that the same journal makes the same files."""
    mine = {trial: timing for trial, timing in journal.known.items() if trial.tokens in found and trial.stage in STAGES}
    return Measured(
        journal.facts, len(mine), sum(one.gpu for one in mine.values()), journal.began, _nodes(mine, journal)
    )


def _nodes(trials: Iterable[Trial], journal: Journal) -> int:
    """On how many nodes trials were made."""
    return len({journal.nodes[trial] for trial in trials if trial in journal.nodes}) or 1


def _listed(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))
