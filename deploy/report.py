"""Results as text and as JSON. Gathers nothing and prints nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from deploy.launch.finding import Finding, with_cure
from deploy.launch.nccl import NcclFinding
from deploy.launch.table_report import TableFinding


@dataclass(frozen=True)
class RankStatus:
    """One rank as it was seen. `health` is `ok`, or why not; `since` is RFC 3339."""

    rank: int
    node: str
    state: str
    health: str = "-"
    digest: str = ""
    since: str = ""


@dataclass(frozen=True)
class ClusterStatus:
    """All ranks of a cluster, and what the running ones use: kernel tables and NCCL."""

    cluster: str
    ranks: tuple[RankStatus, ...]
    tables: tuple[TableFinding, ...] = ()
    nccl: tuple[NcclFinding, ...] = ()

    @property
    def serving(self) -> bool:
        return all(rank.state == "running" and rank.health == "ok" for rank in self.ranks)


def status_json(status: ClusterStatus) -> str:
    return json.dumps(
        {
            "cluster": status.cluster,
            "serving": status.serving,
            "ranks": [asdict(rank) for rank in status.ranks],
            "kernel_tables": [{**asdict(one), "level": one.level} for one in status.tables],
            "nccl": [{**asdict(one), "level": one.level, "cure": one.cure} for one in status.nccl],
        },
        indent=2,
    )


def status_text(status: ClusterStatus) -> str:
    """A table with a line a rank; below it what the ranks use."""
    rows = [("RANK", "NODE", "STATE", "HEALTH", "IMAGE", "SINCE")]
    for one in status.ranks:
        digest = one.digest.removeprefix("sha256:")[:12] or "-"
        rows.append((str(one.rank), one.node, one.state, one.health, digest, one.since[:19] or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    findings: list[Finding] = [*status.tables, *status.nccl]
    lines += [("warning: " if one.level == "warning" else "") + with_cure(one) for one in findings]
    return "\n".join(lines)
