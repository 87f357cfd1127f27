"""`tune compare`: two tables on one GPU, in turns. Writes no table."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import ConfigError
from deploy.event import Event
from deploy.kernels.name import read_name
from deploy.tune.comparison import Compared, Comparison, comparisons
from deploy.tune.journal import Journal
from deploy.tune.task import longest_first
from deploy.workflow.tuning.order import Order
from deploy.workflow.tuning.record import recorded
from deploy.workflow.tuning.site import Site
from deploy.workflow.tuning.taken import Tables, pair_of, tables_at

DEFAULT = "default"


@dataclass(frozen=True)
class Sides:
    """Two tables, as they were read; nothing stands for SGLang's default."""

    a: Tables
    b: Tables

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every batch size of both."""
        every = (size for tables in (self.a, self.b) for table in tables.values() for size in table.entries)
        return tuple(sorted(set(every)))


def sides(names: tuple[str, str], order: Order) -> Sides:
    """Read both. Raises ConfigError where one is no table, or of another shape than the model's."""
    if names[0] == names[1]:
        raise ConfigError(f"both are {names[0]}", "name two tables, or one and `default`")
    return Sides(*(_side(name, order) for name in names))


def _side(name: str, order: Order) -> Tables:
    if name == DEFAULT:
        return {}
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"{name}: is no file", "name an up table, or `default`")
    told = read_name(path.name)
    shape = order.problem.shape
    if told and told.down:
        raise ConfigError(f"{name}: is a _down table", "name the up table; its _down table beside it is taken too")
    if told and (told.experts, told.size) != (shape.experts, shape.intermediate):
        found = f"E={told.experts},N={told.size}"
        message = f"{name}: is for {found}, and the model has E={shape.experts},N={shape.intermediate}"
        raise ConfigError(message, "name its model with --model and --tp-size")
    return tables_at(path)


def compared(
    order: Order, both: Sides, site: Site, journal: Path | None
) -> Generator[Event, None, Mapping[int, Compared]]:
    """Each batch size on one GPU. Without a journal everything is measured anew. Raises DeployError."""
    pairs = {
        size: (
            pair_of(both.a, size, order.problem, order.target),
            pair_of(both.b, size, order.problem, order.target),
        )
        for size in order.sizes
    }
    comparison = Comparison(order.problem, pairs)
    with tempfile.TemporaryDirectory(prefix="sglang-spark-compare-") as folder, closing(site):
        facts = yield from site.ready()
        file = journal or Path(folder) / "journal.jsonl"
        with closing(Journal(file, order.problem.as_json(), facts)) as kept:
            known = comparisons(comparison, kept.known)
            todo = [size for size in longest_first(order.sizes) if size not in known]
            yield from recorded(site, comparison, todo, kept)
            return comparisons(comparison, kept.known)
