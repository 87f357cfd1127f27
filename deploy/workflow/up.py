"""`up`: connect, lock, gather facts, plan, carry out, wait until every rank is ready, ask one question."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deploy.cluster.load import Document
from deploy.cluster.spec import Cluster
from deploy.command import Result
from deploy.errors import DeployError, LockedError, NotReadyError
from deploy.event import Event, Note
from deploy.launch import plan
from deploy.launch.gang import verdict
from deploy.launch.node import NodeFacts, assumed_spark
from deploy.launch.plan import BRINGING, START, Plan
from deploy.launch.pulse import Pulse, Silent
from deploy.launch.takedown import halt, takedown
from deploy.remote import pulse, survey
from deploy.remote.execute import Fleet
from deploy.remote.lock import Lock, lock
from deploy.workflow.asked import ROOT, Wanted, api_key, checked, secrets, wanted_image
from deploy.workflow.lookout import Lookout
from deploy.workflow.ready import wait_until_ready
from deploy.workflow.steps import brought, carry_out
from deploy.workflow.undo import told, undo

if TYPE_CHECKING:
    from deploy.workflow.deliver import Delivery

UNDER_WAY = 3.0
"""Seconds for commands to reach their node before they are undone there, where they are then waited for."""
SELF_TEST_ENDS = 30.0
ASSUMED_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Options:
    """`timeout`: seconds until every rank must be ready. `holder`: who takes the lock, for the next one to read.

    `after`: ranks whose ended containers must still be there, since nobody meant them to go. `key` is the API's, and
    set by `up` itself. `direct`: no node pulls the image from a registry.
    """

    timeout: float = 1800.0
    holder: str = ""
    after: tuple[int, ...] = ()
    direct: bool = False
    key: str = field(default="", repr=False)


def up(document: Document, environ: Mapping[str, str], options: Options) -> Iterator[Event]:
    """Make the ranks run as asked. Raises RemoteError before anything is started, NotReadyError after."""
    cluster, hidden = checked(document), secrets(document, environ)
    wanted = wanted_image(cluster.image)
    with closing(Fleet(cluster)) as fleet:
        fleet.open()
        lookout = Lookout(fleet, cluster)
        gated = fleet.call(lambda: _gated(cluster))
        # Each node goes from login to lock to facts at its own pace.
        with lock(fleet, options.holder, then=survey.commands(cluster, wanted.recipe)) as held:
            for what in gated.result():
                yield Note(f"allowed by image.allow: {what}", "warning")
            seen = yield from _admitted(fleet, cluster, held.results)
            _still_wanted(fleet, seen, options.after)
            image = pinned(cluster, wanted, seen)
            delivery = _delivery(fleet, cluster, image, seen, direct=options.direct)
            todo = plan.up(cluster, image, seen, hidden, delivery.brought if delivery else None)
            yield Note(f"{cluster.name}: {todo.why or 'the ranks run as asked: nothing to change'}")
            lookout.held = held
            keyed = replace(options, key=api_key(document, environ))
            yield from _launch(lookout, held, todo, keyed, delivery)


def planned(document: Document, environ: Mapping[str, str], *, offline: bool = False, direct: bool = False) -> Plan:
    """The plan alone. Online it reads facts and changes nothing; offline it assumes stock DGX Sparks."""
    cluster, hidden = checked(document), secrets(document, environ)
    _gated(cluster)
    if offline:
        assumed = [assumed_spark(node.fabric) for node in cluster.nodes]
        return plan.up(cluster, f"{cluster.image.repository}@{ASSUMED_DIGEST}", assumed, hidden)
    from deploy.workflow.doctor import admitted

    with closing(Fleet(cluster)) as fleet:
        fleet.connect()
        wanted = wanted_image(cluster.image)
        seen, _ = admitted(fleet, cluster, fleet.each(survey.commands(cluster, wanted.recipe)))
        image = pinned(cluster, wanted, seen)
        delivery = _delivery(fleet, cluster, image, seen, direct=direct)
        return plan.up(cluster, image, seen, hidden, delivery.brought if delivery else None)


def _delivery(fleet: Fleet, cluster: Cluster, image: str, seen: list[NodeFacts], *, direct: bool) -> Delivery | None:
    """How the image comes to the nodes; None where all have it: then no registry's protocol is imported."""
    if not plan.lacking(image, seen):
        return None
    from deploy.workflow import deliver

    return deliver.planned(fleet, cluster, image, seen, direct=direct)


def _gated(cluster: Cluster) -> tuple[str, ...]:
    """The gate, imported with the checks while the nodes are logged in to: a start costs little more than its calls."""
    from deploy.workflow import doctor  # noqa: F401
    from deploy.workflow.gate import gate

    return gate(cluster, ROOT)


def _admitted(fleet: Fleet, cluster: Cluster, results: Mapping[int, Result]) -> Generator[Event, None, list[NodeFacts]]:
    """Facts of nodes that passed every check of `doctor`; warnings are told. Raises RemoteError."""
    from deploy.workflow.doctor import admitted, told

    seen, warnings = admitted(fleet, cluster, results)
    yield from told(fleet, warnings)
    return seen


def _still_wanted(fleet: Fleet, seen: list[NodeFacts], after: tuple[int, ...]) -> None:
    """Raises LockedError where a `down` came between the decision to restart and the lock."""
    gone = {rank: "its rank was removed meanwhile" for rank in after if not seen[rank].ranks}
    if gone:
        raise fleet.error(gone, "nothing is started, since that was on purpose", LockedError)


def pinned(cluster: Cluster, wanted: Wanted, seen: list[NodeFacts]) -> str:
    """REPOSITORY@DIGEST: what the nodes that have the recipe agree on, else what the registry has."""
    repository = cluster.image.repository
    held = {digest for node in seen for digest in node.digests(repository)}
    return f"{repository}@{held.pop() if len(held) == 1 else _resolved(wanted.reference)}"


def _resolved(reference: str) -> str:
    from deploy.registry.lookup import resolve

    return resolve(reference)


def _launch(lookout: Lookout, held: Lock, todo: Plan, options: Options, delivery: Delivery | None) -> Iterator[Event]:
    """Carry the plan out and wait. What this run began does not outlive its failure or interruption."""
    try:
        yield from _carried_out(lookout, held, todo, options, delivery)
    except NotReadyError as error:
        if not lookout.begun:
            raise
        yield Note(f"{lookout.told() or 'not ready'}; taking every rank down, and keeping their logs", "warning")
        lookout.fleet.settle(UNDER_WAY)
        raise _halted(lookout, held, error) from None
    except GeneratorExit:
        # Nobody listens any more.
        _removed(lookout, held)
        raise
    except BaseException as error:
        yield from _withdrawn(lookout, held, error)
        raise
    yield Note(f"{lookout.cluster.name} serves at {todo.url}/v1", "done")


def _carried_out(
    lookout: Lookout, held: Lock, todo: Plan, options: Options, delivery: Delivery | None
) -> Iterator[Event]:
    # What it was planned with is open no longer than it is needed.
    yield from brought(lookout, held, todo, delivery)
    for step in todo.steps:
        if step.title not in BRINGING:
            held.check()
            lookout.begun = lookout.begun or step.title in ("prepare", START)
            yield from carry_out(lookout, step)
    yield from wait_until_ready(lookout, todo, options.timeout)
    yield from lookout.beside(_put_to_the_test(lookout.fleet, lookout.cluster, options.key))


def _withdrawn(lookout: Lookout, held: Lock, error: BaseException) -> Iterator[Event]:
    """Remove what was begun. Raises the error anew where it must also name nodes that may still run something."""
    if lookout.told():
        yield Note(lookout.told(), "warning")
    if lookout.begun:
        yield Note("removing what was started", "warning")
    left = _removed(lookout, held)
    if left and isinstance(error, DeployError):
        raise type(error)(error.message + left, error.hint) from None
    if left:
        yield Note(f"not everything could be removed:{left}", "warning")


def _removed(lookout: Lookout, held: Lock) -> str:
    """End what is under way, and remove what was begun; lines about nodes where something may be left."""
    lookout.fleet.settle(UNDER_WAY if lookout.begun else SELF_TEST_ENDS)
    if not lookout.begun:
        return ""
    return told(lookout.fleet, undo(lookout.fleet, held, takedown(lookout.cluster.name, grace=0)).left)


def _halted(lookout: Lookout, held: Lock, error: NotReadyError) -> NotReadyError:
    """Kill what runs. The error with who went first, which may be known only now, and with what may still run."""
    undone = undo(lookout.fleet, held, halt(lookout.cluster.name))
    for rank, result in undone.results.items():
        lookout.gang = lookout.gang.after(_before_the_end(rank, result))
    message = verdict(lookout.gang, lookout.cluster.name) if lookout.gang.gone else error.message
    return NotReadyError(message + told(lookout.fleet, undone.left), error.hint)


def _before_the_end(rank: int, result: Result) -> Pulse | Silent:
    """How a rank was before it was killed."""
    now, found = time.monotonic(), pulse.read(rank, result.stdout, time.monotonic())
    if result.ok and not found.docker_error:
        return found
    return Silent(
        rank, now, f"its Docker Engine does not answer: {found.docker_error}" if result.ok else result.tail(1)
    )


def _put_to_the_test(fleet: Fleet, cluster: Cluster, key: str) -> Iterator[Event]:
    from deploy.workflow.probe import prove

    return prove(fleet, cluster, key)
