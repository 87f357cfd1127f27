"""`doctor`, and the same checks before `up` starts anything: look at every node, examine, refuse. Changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress

from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.command import Result
from deploy.errors import BuildError, RemoteError
from deploy.event import Event, Note
from deploy.launch.doctor.check import FAIL, WARN, Check, grouped, skipped
from deploy.launch.doctor.examine import examine
from deploy.launch.doctor.fit import Fit, UnknownFitError, fit_of
from deploy.launch.doctor.report import Report
from deploy.launch.doctor.seen import Case, Seen
from deploy.launch.node import NodeFacts
from deploy.remote import survey
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock
from deploy.workflow.asked import checked, wanted_image


def doctor(document: Document, holder: str, *, bandwidth: bool = False) -> Generator[Event, None, Report]:
    """Every check of a cluster, with one connection a node; a node that cannot be reached fails its login alone.

    With `bandwidth` an all-gather runs on the nodes, under the cluster's lock. Raises LockedError.
    """
    cluster = checked(document)
    commands = survey.commands(cluster, wanted_image(cluster.image).recipe)
    with closing(Fleet(cluster)) as fleet:
        refused = fleet.reach()
        results = fleet.each({rank: commands[rank] for rank in fleet.ranks})
        lost = {rank: RemoteError(f"no facts: {result.tail(2)}") for rank, result in results.items() if not result.ok}
        case = _case(cluster, {rank: survey.read(result) for rank, result in results.items() if result.ok})
        found = examine(case, {**refused, **lost})
        if bandwidth:
            found = (*found, *grouped((yield from _all_gather(fleet, case, holder))))
        return Report(cluster, found, _fit(case))


def _all_gather(fleet: Fleet, case: Case, holder: str) -> Generator[Event, None, list[Check]]:
    from deploy.launch.doctor import bandwidth

    obstacle = bandwidth.obstacle(case)
    if obstacle:
        return [skipped(bandwidth.NAME, rank, obstacle) for rank in case.nodes]
    yield Note(f"an all-gather on {len(case.nodes)} nodes; it ends within {bandwidth.LIMIT} s")
    with lock(fleet, holder):
        try:
            fleet.each(bandwidth.removals(case))
            return list(bandwidth.judge(fleet.each(bandwidth.commands(case))))
        finally:
            fleet.each(bandwidth.removals(case))


def _case(cluster: Cluster, seen: Mapping[int, Seen]) -> Case:
    """The nodes, and the size of the image: that of a node which has it, else of this machine's own."""
    holding = [node.image_size for node in seen.values() if node.facts.digests(cluster.image.repository)]
    return Case(cluster, seen, max(holding) if holding else _size_here(cluster))


def _size_here(cluster: Cluster) -> int:
    from deploy.image.engine import size

    with suppress(BuildError):
        return size(wanted_image(cluster.image).reference)
    return 0


def _fit(case: Case) -> Fit | None:
    try:
        return fit_of(case)
    except UnknownFitError:
        return None


def admitted(fleet: Fleet, cluster: Cluster, results: Mapping[int, Result]) -> tuple[list[NodeFacts], list[Check]]:
    """Facts of every node, and the warnings. Raises one RemoteError with every node that cannot run its rank."""
    failed = {rank: f"no facts: {result.tail(2)}" for rank, result in results.items() if not result.ok}
    if failed:
        raise fleet.error(failed, "the node must have a POSIX shell and iproute2")
    seen: dict[int, Seen] = {rank: survey.read(results[rank]) for rank in sorted(results)}
    checks = examine(_case(cluster, seen))
    refuse(fleet, checks)
    return [node.facts for node in seen.values()], [one for one in checks if one.outcome == WARN]


def refuse(fleet: Fleet, checks: tuple[Check, ...]) -> None:
    """Raise one RemoteError that names every node with all that it failed."""
    failed = [one for one in checks if one.outcome == FAIL]
    if not failed:
        return
    problems: dict[int, str] = {}
    for one in failed:
        for rank in one.ranks:
            problems[rank] = "; ".join(
                filter(None, (problems.get(rank), f"{one.id}: {one.seen}, needed: {one.needed}"))
            )
    cures = [f"  {name}: {hint}" for name, hint in dict.fromkeys((one.id, one.hint) for one in failed)]
    hint = "nothing was started; mend these and run `up` again (`doctor` shows every check)\n"
    raise fleet.error(problems, hint + "\n".join(cures))


def told(fleet: Fleet, warnings: list[Check]) -> Iterator[Event]:
    """Warnings of checks, a line each."""
    for one in warnings:
        hosts = ", ".join(fleet.nodes[rank].host for rank in one.ranks)
        yield Note(f"{one.id} on {hosts}: {one.seen}" + (f"; needed: {one.needed}" if one.needed else ""), "warning")
