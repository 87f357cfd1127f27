"""Steps of a plan, carried out on all nodes at once, with what they say on the way. Does not decide their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from dataclasses import replace
from typing import TYPE_CHECKING

from deploy.command import Result
from deploy.errors import LockedError, RemoteError
from deploy.event import Event, Note, Progress
from deploy.launch import plan
from deploy.launch.finding import shared
from deploy.launch.plan import BRINGING, COPY, PULL, START, Plan, Step
from deploy.launch.selftest import judge
from deploy.remote.execute import Fleet
from deploy.remote.lock import Lock
from deploy.workflow.lookout import Lookout

if TYPE_CHECKING:
    from deploy.workflow.deliver import Delivery

More = Callable[[], Iterator[Event]]


def brought(lookout: Lookout, held: Lock, todo: Plan, delivery: Delivery | None) -> Iterator[Event]:
    """Bring the image to the nodes that lack it. Raises RemoteError with every node that did not get it."""
    steps = [step for step in todo.steps if step.title in BRINGING]
    if not steps or delivery is None:
        return
    from deploy.workflow.deliver import commands, lending

    yield from (
        Note(f"image for {lookout.fleet.nodes[rank].host}: {what}") for rank, what in sorted(todo.delivery.items())
    )
    with lending(lookout.fleet, delivery) as lent:
        for step in steps:
            held.check()
            sent = Step(step.title, commands(step))
            more = (lambda: lent.progress(delivery.shares)) if lent else _nothing
            try:
                yield from carry_out(lookout, sent, more)
            except RemoteError as error:
                if step.title == PULL or lookout.gang.gone or isinstance(error, LockedError):
                    raise _with(error, lent.depot.troubles if lent else []) from None
                # A pull follows, which brings what is still missing.
                yield Note(f"{step.title} failed, so the image is pulled whole: {error.message}", "warning")


def _nothing() -> Iterator[Event]:
    return iter(())


def _with(error: RemoteError, troubles: list[str]) -> RemoteError:
    """The error with what this machine knows of its cause."""
    told = "".join(f"\n  here: {trouble}" for trouble in dict.fromkeys(troubles))
    return type(error)(error.message + told, error.hint)


def carry_out(lookout: Lookout, step: Step, more: More = _nothing) -> Iterator[Event]:
    """Run a step to its end on every node, and watch them all meanwhile. Raises what went wrong, with every node."""
    fleet, meter = lookout.fleet, METERS.get(step.title, Meter)()
    yield Note(f"{step.title}: {', '.join(fleet.nodes[rank].host for rank in step.commands)}")
    running = fleet.begin(step.commands, meter.hear if step.title in METERS else None)
    going = True
    while going:
        going = bool(wait(running.values(), timeout=0.2).not_done)
        yield from meter.told(fleet)
        yield from more()
        if step.title == START:
            lookout.expect(rank for rank, one in running.items() if one.done() and one.result().ok)
        yield from lookout.turn()
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


class Meter:
    """Hears what the commands of a step say, and tells how far they are. This one hears nothing."""

    def hear(self, rank: int, line: str) -> None:
        """One line of a node's."""

    def told(self, fleet: Fleet) -> Iterator[Event]:  # noqa: ARG002
        return iter(())


class PullMeter(Meter):
    """Counts the layers in the lines of `docker pull`: how many there are, how many are in place."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[int, int]] = {}

    def hear(self, rank: int, line: str) -> None:
        done, total = self.layers.get(rank, (0, 0))
        total += line.endswith((": Pulling fs layer", ": Already exists"))
        done += line.endswith((": Pull complete", ": Already exists"))
        self.layers[rank] = (done, total)

    def told(self, fleet: Fleet) -> Iterator[Event]:
        for rank, (done, layers) in sorted(self.layers.items()):
            yield Progress(f"pull on {fleet.nodes[rank].host}", done, layers, "layers")


class CopyMeter(Meter):
    """Reads what nodes say of a copy over the fabric: how large it is about, and what they sent or took, unpacked."""

    def __init__(self) -> None:
        self._size = 0
        self._new: dict[int, Progress] = {}
        self._began = time.monotonic()

    def hear(self, rank: int, line: str) -> None:
        word, _, count = line.partition(" ")
        if word == "size" and count.isdigit():
            self._size = int(count)
        elif word in WORDS and count.isdigit():
            rate = int(count) / max(time.monotonic() - self._began, 0.1)
            self._new[rank] = Progress(WORDS[word], int(count), max(self._size, int(count)) or None, rate=rate)

    def told(self, fleet: Fleet) -> Iterator[Event]:
        for rank in sorted(self._new):
            one = self._new.pop(rank)
            yield replace(one, task=f"{one.task} {fleet.nodes[rank].host} over the fabric")


WORDS = {"sent": "copy from", "taken": "copy to"}
METERS: Mapping[str, type[Meter]] = {PULL: PullMeter, COPY: CopyMeter}
