"""The GPUs of a cluster's nodes as a place that measures: found, held to be alike, and everything taken down after."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, closing
from typing import Any

from deploy.cluster.load import Document
from deploy.command import Command, Result
from deploy.container import pull
from deploy.errors import BuildError, TuneError
from deploy.event import Event, Note
from deploy.kernels.gpu import arch
from deploy.launch.node import NodeFacts
from deploy.launch.plan import PULL_TIMEOUT
from deploy.remote import facts as probe
from deploy.remote.execute import Fleet
from deploy.remote.fed import Fed
from deploy.remote.lock import lock
from deploy.tune.alike import differing, obstacle, told
from deploy.tune.happening import Happening
from deploy.tune.plan import Launch, removal
from deploy.tune.problem import Problem
from deploy.tune.task import Work
from deploy.tune.trial import Timing, Trial
from deploy.workflow.asked import checked, wanted_image
from deploy.workflow.steps import PullMeter
from deploy.workflow.tuning.shift import Shift
from deploy.workflow.undo import undo
from deploy.workflow.up import pinned

NOT_BUILT = "make it first: `build --with-tune --push`"


class Nodes:
    """Holds the cluster's lock from `ready` to `close`, so that no `up`, `down` or other `tune` comes between."""

    def __init__(self, document: Document, problem: Problem, holder: str = "tune") -> None:
        self._document, self._problem, self._holder = document, problem, holder
        self._stack = ExitStack()
        self._begun = False

    def ready(self) -> Generator[Event, None, Mapping[str, Any]]:
        """See Site. Raises RemoteError, LockedError, BuildError, TuneError, each with every node that it is about."""
        cluster = checked(self._document)
        wanted = wanted_image(cluster.image.with_tune)
        fleet = self._fleet = self._stack.enter_context(closing(Fleet(cluster)))
        look = dict.fromkeys(fleet.ranks, probe.command(cluster.name, wanted.recipe))
        held = self._held = self._stack.enter_context(lock(fleet, self._holder, then=look))
        seen = self._seen(held.results)
        try:
            image = pinned(cluster, wanted, seen)
        except BuildError as error:
            raise BuildError(error.message, NOT_BUILT) from None
        yield from self._pulled(image, seen)
        repository, _, digest = image.partition("@")
        references = {rank: node.reference(repository, digest) for rank, node in enumerate(seen)}
        self._launch = Launch(cluster, references, self._problem, secrets.token_hex(32))
        found = yield from self._asked()
        self._arch = arch(found[0]["capability"])
        self._gpus = {rank: int(facts.get("gpus", 1)) for rank, facts in found.items()}
        yield Note(f"{sum(self._gpus.values())} GPUs on {len(found)} nodes: {found[0]['device']}")
        return found[0]

    def _seen(self, results: Mapping[int, Result]) -> list[NodeFacts]:
        """Facts of nodes whose GPUs are there and free."""
        failed = {rank: f"no facts: {result.tail(2)}" for rank, result in results.items() if not result.ok}
        if failed:
            raise self._fleet.error(failed, "the node must have a POSIX shell and iproute2")
        seen = {rank: probe.read(results[rank].stdout) for rank in sorted(results)}
        problems = {rank: why for rank, facts in seen.items() if (why := obstacle(facts))}
        if problems:
            raise self._fleet.error(problems, "nothing was started; `down` ends ranks, `doctor` shows every check")
        return list(seen.values())

    def _pulled(self, image: str, seen: Sequence[NodeFacts]) -> Iterator[Event]:
        repository, _, digest = image.partition("@")
        command = Command(pull(image), timeout=PULL_TIMEOUT, loose=True)
        todo = {rank: command for rank, node in enumerate(seen) if digest not in node.digests(repository)}
        if not todo:
            return
        yield Note(f"pull: {', '.join(self._fleet.nodes[rank].host for rank in todo)}")
        meter = PullMeter()
        running = self._fleet.begin(todo, meter.hear)
        while wait(running.values(), timeout=0.2).not_done:
            self._held.check()
            yield from meter.told(self._fleet)
        self._fleet.finish(running)

    def _asked(self) -> Generator[Event, None, dict[int, dict[str, Any]]]:
        """What each node measures with. Raises TuneError that names every node which cannot, or which is another."""
        yield Note("looking at the GPUs: memory, arithmetic, versions")
        self._begun = True
        answers = self._answers()
        problems = {rank: why for rank, (_, why) in answers.items() if why}
        if problems:
            hints = dict.fromkeys(said.get("hint", "") for said, why in answers.values() if why)
            raise self._error("cannot measure", problems, "; ".join(filter(None, hints)))
        found = {rank: dict(said["facts"]) for rank, (said, _) in sorted(answers.items())}
        apart = differing({rank: {**said["facts"], "ray": said["ray"]} for rank, (said, _) in answers.items()})
        if apart:
            hint = "measurements of unlike nodes make no table: bring them to the same versions, or leave one out"
            raise self._error("are unlike the others", apart, hint)
        return found

    def _answers(self) -> dict[int, tuple[dict[str, Any], str]]:
        """By rank what a node told, and why it could not measure. Whose container was ended is asked once more."""
        answers = self._ask(self._fleet.ranks)
        silent = [rank for rank, (said, _) in answers.items() if not said and self._fleet.sessions[rank].alive]
        return answers | self._ask(silent)

    def _ask(self, ranks: Sequence[int]) -> dict[int, tuple[dict[str, Any], str]]:
        lines: dict[int, list[str]] = {rank: [] for rank in ranks}
        asked = {rank: Fed(self._fleet, rank, self._launch.facts(rank), lines[rank].append) for rank in lines}
        try:
            while not all(one.wait(0.2) for one in asked.values()):
                self._held.check()
        finally:
            for one in asked.values():
                one.stop()
        return {rank: told(lines[rank], one.result) for rank, one in asked.items()}

    def _error(self, what: str, problems: Mapping[int, str], hint: str) -> TuneError:
        lines = [f"\n  {self._fleet.nodes[rank].host}: {why}" for rank, why in sorted(problems.items())]
        return TuneError(f"{len(problems)} of {len(self._fleet.nodes)} nodes {what}" + "".join(lines), hint)

    def measured(self, task: Work, sizes: Sequence[int], known: Mapping[Trial, Timing]) -> Iterator[Happening | Event]:
        """See Site. What is lost is told, and the rest goes on."""
        shift = Shift(self._fleet, self._held, self._launch, self._gpus, self._arch)
        try:
            yield from shift.measured(task, sizes, known)
        finally:
            shift.close()

    def close(self) -> None:
        """Remove what is left on the nodes, let the lock go, and log out. A node that cannot be reached ends its part
        by itself."""
        try:
            if self._begun:
                undo(self._fleet, self._held, removal(self._fleet.name))
        finally:
            self._stack.close()
