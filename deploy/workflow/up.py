"""`up`: connect, lock, gather facts, plan, carry out, wait until every rank is ready, ask one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass, field, replace

from deploy import container
from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.command import Command, Result
from deploy.errors import NotReadyError
from deploy.event import Event, Note, Progress
from deploy.launch import fit, plan
from deploy.launch.exposure import exposure
from deploy.launch.finding import shared, with_cure
from deploy.launch.node import NodeFacts, assumed_spark
from deploy.launch.plan import Plan, Step
from deploy.launch.selftest import judge
from deploy.launch.takedown import takedown
from deploy.remote import facts as probe
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock
from deploy.workflow.asked import ROOT, Wanted, api_key, checked, secrets, wanted_image
from deploy.workflow.ready import wait_until_ready

ASSUMED_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Options:
    """`timeout`: seconds until every rank must be ready. `holder`: who takes the lock, for the next one to read.

    `key` is the API's, and set by `up` itself.
    """

    timeout: float = 1800.0
    holder: str = ""
    key: str = field(default="", repr=False)


def up(document: Document, environ: Mapping[str, str], options: Options) -> Iterator[Event]:
    """Make the ranks run as asked. Raises RemoteError before anything is started, NotReadyError after."""
    cluster, hidden = checked(document), secrets(document, environ)
    wanted = wanted_image(cluster.image)
    with closing(Fleet(cluster)) as fleet:
        fleet.open()
        gated = fleet.call(lambda: _gated(cluster))
        # Each node goes from login to lock to facts at its own pace.
        with lock(fleet, options.holder, then=probe.command(cluster.name, wanted.recipe)) as held:
            for what in gated.result():
                yield Note(f"allowed by image.allow: {what}", "warning")
            seen = understood(fleet, cluster, held.results)
            todo = plan.up(cluster, _pinned(cluster, wanted, seen), seen, hidden)
            yield Note(f"{cluster.name}: {todo.why or 'the ranks run as asked: nothing to change'}")
            yield from _exposed(cluster, seen)
            yield from _launch(fleet, cluster, todo, replace(options, key=api_key(document, environ)))


def planned(document: Document, environ: Mapping[str, str], *, offline: bool = False) -> Plan:
    """The plan alone. Online it reads facts and changes nothing; offline it assumes stock DGX Sparks."""
    cluster, hidden = checked(document), secrets(document, environ)
    _gated(cluster)
    if offline:
        assumed = [assumed_spark(node.fabric) for node in cluster.nodes]
        return plan.up(cluster, f"{cluster.image.repository}@{ASSUMED_DIGEST}", assumed, hidden)
    with closing(Fleet(cluster)) as fleet:
        fleet.connect()
        wanted = wanted_image(cluster.image)
        results = fleet.each(dict.fromkeys(fleet.ranks, probe.command(cluster.name, wanted.recipe)))
        seen = understood(fleet, cluster, results)
        return plan.up(cluster, _pinned(cluster, wanted, seen), seen, hidden)


def _gated(cluster: Cluster) -> tuple[str, ...]:
    """The gate, imported while the nodes are logged in to: a start costs little more than its calls."""
    from deploy.workflow.gate import gate

    return gate(cluster, ROOT)


def understood(fleet: Fleet, cluster: Cluster, results: Mapping[int, Result]) -> list[NodeFacts]:
    """Facts of every node. Raises one RemoteError with every node that cannot run its rank."""
    failed = {rank: f"no facts: {result.tail(2)}" for rank, result in results.items() if not result.ok}
    if failed:
        raise fleet.error(failed, "the node must have a POSIX shell and iproute2")
    seen = [probe.read(results[rank].stdout) for rank in sorted(results)]
    unfit: dict[int, str] = {}
    for rank, what in fit.problems(cluster, seen):
        unfit[rank] = f"{unfit[rank]}; {what}" if rank in unfit else what
    if unfit:
        raise fleet.error(unfit, "nothing was started; mend these and run `up` again")
    return seen


def _pinned(cluster: Cluster, wanted: Wanted, seen: list[NodeFacts]) -> str:
    """REPOSITORY@DIGEST: what the nodes that have the recipe agree on, else what the registry has."""
    repository = cluster.image.repository
    held = {digest for node in seen for digest in node.digests(repository)}
    return f"{repository}@{held.pop() if len(held) == 1 else _resolved(wanted.reference)}"


def _resolved(reference: str) -> str:
    from deploy.image.engine import resolve

    return resolve(reference)


def _launch(fleet: Fleet, cluster: Cluster, todo: Plan, options: Options) -> Iterator[Event]:
    """Carry the plan out and wait. What this run began does not outlive its failure or interruption."""
    begun = False
    try:
        for step in todo.steps:
            begun = begun or step.title in ("prepare", "start")
            yield from _step(fleet, step)
        yield from wait_until_ready(fleet, cluster, todo, options.timeout)
        yield from _put_to_the_test(fleet, cluster, options.key)
    except NotReadyError:
        if not begun:
            raise
        yield Note("taking every rank down; their logs stay until the next `up` or `down`", "warning")
        _undo(fleet, {rank: Command(container.kill(name)) for rank, name in enumerate(todo.containers)})
        raise
    except BaseException as error:
        fleet.settle()
        if begun and not isinstance(error, GeneratorExit):
            yield Note("removing what was started", "warning")
        if begun:
            _undo(fleet, dict.fromkeys(fleet.ranks, takedown(cluster.name, grace=0)))
        raise
    yield Note(f"{cluster.name} serves at {todo.url}/v1", "done")


def _put_to_the_test(fleet: Fleet, cluster: Cluster, key: str) -> Iterator[Event]:
    from deploy.workflow.probe import prove

    return prove(fleet, cluster, key)


def _exposed(cluster: Cluster, seen: list[NodeFacts]) -> Iterator[Event]:
    found = exposure(cluster, seen[0].interfaces)
    if found:
        yield Note(with_cure(found), found.level)


def _step(fleet: Fleet, step: Step) -> Iterator[Event]:
    nodes = ", ".join(fleet.nodes[rank].host for rank in step.commands)
    yield Note(f"{step.title}: {nodes}")
    meter = PullMeter()
    running = fleet.begin(step.commands, meter.hear if step.title == "pull" else None)
    going = True
    while going:
        going = bool(wait(running.values(), timeout=0.5).not_done)
        for rank, (done, layers) in sorted(meter.layers.items()):
            yield Progress(f"pull on {fleet.nodes[rank].host}", done, layers, "layers")
    if step.title == plan.SELF_TEST:
        yield from _proven(fleet, {rank: future.result() for rank, future in running.items()})
    fleet.finish(running)


def _proven(fleet: Fleet, results: Mapping[int, Result]) -> Iterator[Event]:
    """What the self-tests said. Raises one RemoteError with every node whose image failed, and what it failed."""
    proofs = {rank: judge(result) for rank, result in results.items()}
    failed = {rank: f"self-test: {proof.problem}" for rank, proof in proofs.items() if proof.problem}
    if failed:
        raise fleet.error(failed, "; ".join(dict.fromkeys(proofs[rank].hint for rank in failed)))
    for summary, ranks in shared({rank: (proof.summary,) for rank, proof in proofs.items()}):
        yield Note(f"self-test on {', '.join(fleet.nodes[rank].host for rank in ranks)}: {summary}")
    for what, _ in shared({rank: proof.allowed for rank, proof in proofs.items()}):
        yield Note(f"self-test: allowed on request: {what}", "warning")


class PullMeter:
    """Counts the layers in the lines of `docker pull`: how many there are, how many are in place."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[int, int]] = {}

    def hear(self, rank: int, line: str) -> None:
        done, total = self.layers.get(rank, (0, 0))
        total += line.endswith((": Pulling fs layer", ": Already exists"))
        done += line.endswith((": Pull complete", ": Already exists"))
        self.layers[rank] = (done, total)


def _undo(fleet: Fleet, commands: Mapping[int, Command]) -> None:
    """End the containers of this cluster. Raises RemoteError that names the nodes where that is not known."""
    results = fleet.each(commands)
    lost = {rank: result.tail(1) for rank, result in results.items() if result.code is None}
    if lost:
        raise fleet.error(lost, "these may still run their ranks: run `down` when they are back")
