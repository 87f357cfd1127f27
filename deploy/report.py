"""Results as text and as JSON. Gathers nothing and prints nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from deploy.grid import grid
from deploy.launch.evidence import Seen
from deploy.launch.finding import Finding, with_cure
from deploy.launch.load import Load
from deploy.launch.nccl import NcclFinding
from deploy.launch.network_log import NetworkFinding
from deploy.launch.standing import Standing
from deploy.launch.table_report import TableFinding


@dataclass(frozen=True)
class RankStatus:
    """One rank as it was seen. `container` is Docker's word, or absent, or unknown; `health` an HTTP status or why none
    came; `since` is RFC 3339."""

    rank: int
    node: str
    state: str
    since: str = ""
    why: str = ""
    container: str = "unknown"
    health: str = "-"
    digest: str = ""
    watts: tuple[float, ...] = ()

    @staticmethod
    def of(seen: Seen, standing: Standing) -> RankStatus:
        known = seen.pulse is not None and not seen.pulse.docker_error
        found = seen.pulse.container if seen.pulse and known else None
        state = found.state if found else "absent" if known else "unknown"
        health = (str(seen.health.status or seen.health.why)) if state == "running" else "-"
        digest = found.digest if found else ""
        return RankStatus(
            seen.rank, seen.host, standing.state, standing.since, standing.why, state, health, digest, seen.watts
        )


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster as a whole, its ranks, rank 0's load, and what the running ones use: tables, NCCL, network."""

    cluster: str
    whole: Standing
    ranks: tuple[RankStatus, ...]
    load: Load | None = None
    tables: tuple[TableFinding, ...] = ()
    nccl: tuple[NcclFinding, ...] = ()
    network: tuple[NetworkFinding, ...] = ()


def status_json(status: ClusterStatus) -> str:
    return json.dumps(
        {
            "cluster": status.cluster,
            **asdict(status.whole),
            "serving": status.whole.state == "serving",
            "ranks": [asdict(rank) for rank in status.ranks],
            "load": asdict(status.load) if status.load else None,
            "kernel_tables": [{**asdict(one), "level": one.level} for one in status.tables],
            "nccl": [{**asdict(one), "level": one.level, "cure": one.cure} for one in status.nccl],
            "network": [{**asdict(one), "level": one.level, "cure": one.cure} for one in status.network],
        },
        indent=2,
    )


def status_text(status: ClusterStatus) -> str:
    """What the whole does; a table with a line a rank; below it what the ranks use."""
    rows = [("RANK", "NODE", "STATE", "SINCE", "CONTAINER", "HEALTH", "IMAGE")]
    for one in status.ranks:
        digest = one.digest.removeprefix("sha256:")[:12] or "-"
        health = "ok" if one.health == "200" else one.health
        rows.append((str(one.rank), one.node, one.state, one.since or "-", one.container, health, digest))
    findings: list[Finding] = [*status.tables, *status.nccl, *status.network]
    used = [("warning: " if one.level == "warning" else "") + with_cure(one) for one in findings]
    return "\n".join([*_headline(status), *grid(rows, left=True), *_load(status.load), *used])


def _headline(status: ClusterStatus) -> list[str]:
    """The state of the whole, since when, and on a line of its own each reason."""
    whole = status.whole
    since = f" since {whole.since}" if whole.since else ""
    return [f"{status.cluster}: {whole.state}{since}", *(f"  {why}" for why in whole.why.split("; ") if why)]


def _load(load: Load | None) -> list[str]:
    if load is None:
        return []
    return [f"requests: {load.running} running, {load.waiting} waiting, with {load.tokens} tokens ({load.source})"]
