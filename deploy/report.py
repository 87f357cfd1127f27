"""Results as text and as JSON. Gathers nothing and prints nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


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
    """All ranks of a cluster."""

    cluster: str
    ranks: tuple[RankStatus, ...]

    @property
    def serving(self) -> bool:
        return all(rank.state == "running" and rank.health == "ok" for rank in self.ranks)


def status_json(status: ClusterStatus) -> str:
    ranks = [asdict(rank) for rank in status.ranks]
    return json.dumps({"cluster": status.cluster, "serving": status.serving, "ranks": ranks}, indent=2)


def status_text(status: ClusterStatus) -> str:
    """A table with a line a rank."""
    rows = [("RANK", "NODE", "STATE", "HEALTH", "IMAGE", "SINCE")]
    for one in status.ranks:
        digest = one.digest.removeprefix("sha256:")[:12] or "-"
        rows.append((str(one.rank), one.node, one.state, one.health, digest, one.since[:19] or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
