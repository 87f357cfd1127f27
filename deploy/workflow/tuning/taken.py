"""What SGLang takes at a batch size: from tables that lie there, else its default. Judges none of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.errors import ConfigError
from deploy.kernels.default import default_segments
from deploy.kernels.finding import Target
from deploy.kernels.parse import TableError, parse, read
from deploy.kernels.table import Table
from deploy.tune.comparison import Pair
from deploy.tune.problem import Problem
from deploy.tune.trial import GemmName

Tables = Mapping[GemmName, Table]
"""Both, or none where SGLang's default is meant."""


def tables_at(up: Path) -> Tables:
    """An up table and its `_down` table, for which the up table stands in where there is none. Nothing where there is
    no up table. Raises ConfigError."""
    if not up.exists():
        return {}
    down = up.with_name(f"{up.stem}_down.json")
    return {"up": _table(up), "down": _table(down if down.is_file() else up)}


def _table(path: Path) -> Table:
    try:
        return parse(read(path), str(path))
    except TableError as error:
        raise ConfigError(str(error).splitlines()[0], "mend it, or take it away") from None


def tables_json(tables: Tables) -> dict[str, Any]:
    """For a journal."""
    return {
        gemm: {str(size): config.as_json() for size, config in table.entries.items()} for gemm, table in tables.items()
    }


def tables_of(fields: Mapping[GemmName, Any]) -> Tables:
    """The inverse of `tables_json`."""
    return {gemm: parse(json.dumps(entries)) for gemm, entries in fields.items()}


def with_entries(tables: Tables, pairs: Mapping[int, Pair]) -> Tables:
    """The same with these entries."""
    if not pairs:
        return tables
    gemms: tuple[GemmName, ...] = ("up", "down")
    old = {gemm: tables[gemm].entries if gemm in tables else {} for gemm in gemms}
    return {gemm: Table({**old[gemm], **{size: pair[gemm] for size, pair in pairs.items()}}) for gemm in gemms}


def pair_of(tables: Tables, tokens: int, problem: Problem, target: Target) -> Pair:
    """What both GEMMs take."""
    if not tables:
        segments = default_segments(problem.shape, target)
        default = next((one.config for one in segments if one.first <= tokens <= one.last), segments[-1].config)
        return {"up": default, "down": default}
    return {gemm: table.entries[table.choose(tokens)] for gemm, table in tables.items()}
