"""What nodes have of a model, and what it consists of: as nodes know it, or as the hub says, asked in the image."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from deploy.command import Command
from deploy.errors import BuildError, HubError, WeightsError
from deploy.event import Event, Note
from deploy.remote import facts
from deploy.remote.execute import Fleet
from deploy.weights import command
from deploy.weights.manifest import COMMIT, Manifest, manifest
from deploy.weights.plan import Held, held, known
from deploy.workflow.asked import wanted_image
from deploy.workflow.steps import pulled
from deploy.workflow.up import pinned
from deploy.workflow.weights.asked import Asking, Model
from deploy.workflow.weights.crew import Line, answers

NEEDS_IMAGE = "the hub is asked from inside the image: `build --push` first"


def look(fleet: Fleet, model: Model, ranks: Iterable[int]) -> tuple[dict[int, Held], dict[int, str]]:
    """What nodes have, and why it is not known, by rank."""
    told, failed = answers(fleet, "look", dict.fromkeys(ranks, command.here("look", model.order)))
    found = {rank: held(line) for rank, line in sorted(told.items())}
    return found, {rank: error.message for rank, error in failed.items()}


def looked(fleet: Fleet, model: Model) -> dict[int, Held]:
    """What every node has. Raises RemoteError that names each one which did not say."""
    found, failed = look(fleet, model, fleet.ranks)
    if failed:
        raise fleet.error(failed, "the node must have python3, 3.10 or newer")
    return found


class Source:
    """The node that asks the hub, in a container of the image; the image is looked for once, when it is needed."""

    def __init__(self, fleet: Fleet, model: Model, asking: Asking) -> None:
        self._fleet, self._model, self._asking = fleet, model, asking
        self._images: dict[int, str] = {}

    @property
    def rank(self) -> int | None:
        return self._asking.source

    def manifest(self, nodes: Mapping[int, Held], *, newest: bool = True) -> Generator[Event, None, Manifest]:
        """What the revision consists of; unless `newest`, or where the hub is away, as nodes know it.

        Raises WeightsError, BuildError.
        """
        found, revision = known(nodes.values(), self._model.revision), self._model.revision
        if found and (COMMIT.fullmatch(revision) or not newest):
            return found
        rank = min(nodes) if self.rank is None else self.rank
        try:
            return manifest((yield from self._asked(rank, nodes[rank].hub)))
        except (HubError, BuildError) as error:
            if not found:
                raise
            yield Note(f"{error.message}; going by {found.commit}, which nodes have as {revision}", "warning")
            return found

    def _asked(self, rank: int, hub: str) -> Generator[Event, None, Line]:
        yield Note(f"asking the hub for {self._model.repository} at {self._model.revision}, on {self._host(rank)}")
        order = yield from self.command(rank, "manifest", hub, {})
        told, failed = answers(self._fleet, "manifest", {rank: order})
        if failed:
            error = failed[rank]
            raise type(error)(f"{self._host(rank)}: {error.message}", error.hint)
        return told[rank]

    def command(self, rank: int, role: str, hub: str, more: Mapping[str, object]) -> Generator[Event, None, Command]:
        """The command of a role that speaks to the hub. Raises BuildError where there is no image to run it in."""
        if rank not in self._images:
            self._images[rank] = yield from self._image(rank)
        said = {"token": self._asking.token, "patience": self._asking.patience}
        order = {**self._model.order, **said, **more, "hub": hub}
        return command.at_the_hub(role, order, self._model.cluster, self._images[rank])

    def _image(self, rank: int) -> Generator[Event, None, str]:
        cluster, wanted = self._model.cluster, wanted_image(self._model.cluster.image)
        result = self._fleet.run(rank, facts.command(cluster.name, wanted.recipe))
        if not result.ok:
            raise WeightsError(f"{self._host(rank)}: no facts: {result.tail(2)}", "see the node itself")
        node = facts.read(result.stdout)
        try:
            image = pinned(cluster, wanted, [node])
        except BuildError as error:
            raise BuildError(error.message, f"{NEEDS_IMAGE}; {error.hint}") from None
        repository, _, digest = image.partition("@")
        if digest not in node.digests(repository):
            yield from pulled(self._fleet, {rank: image})
        return node.reference(repository, digest)

    def _host(self, rank: int) -> str:
        return self._fleet.nodes[rank].host
