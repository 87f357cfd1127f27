"""Who uses a model on a node: the containers that run there, as Docker shows them. Pure, but for a script's text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from deploy.command import Command
from deploy.container import CLUSTER
from deploy.weights.cache import folder_name

_SCRIPT = """
ids=$(docker ps --quiet --no-trunc) || exit 1
[ -z "$ids" ] || docker inspect --format \\
  '{"name":{{json .Name}},"args":{{json .Args}},"labels":{{json .Config.Labels}},"mounts":{{json .Mounts}}}' $ids
"""


@dataclass(frozen=True)
class Running:
    """A container that runs: the folders of the node that it sees, and whether it is a rank of ours."""

    name: str
    args: tuple[str, ...]
    rank: bool
    folders: tuple[str, ...]

    def sees(self, folder: str) -> bool:
        """A folder of the node, or a part of it, is mounted."""
        return any(_within(folder, one) or _within(one, folder) for one in self.folders)

    def uses(self, repository: str) -> bool:
        """A rank uses the models that its arguments name; of what others do with what they see, nothing is known."""
        return not self.rank or any(one == repository or folder_name(repository) in one for one in self.args)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def command() -> Command:
    """Prints what runs on a node, a line of JSON each; fails where Docker does not answer."""
    return Command(("sh", "-c", _SCRIPT))


def read(text: str) -> tuple[Running, ...]:
    return tuple(_running(line) for line in text.splitlines() if line.startswith("{"))


def _running(line: str) -> Running:
    told = json.loads(line)
    folders = tuple(str(one["Source"]) for one in told["mounts"] or () if one.get("Source"))
    labels = told["labels"] or {}
    return Running(told["name"].lstrip("/"), tuple(told["args"] or ()), CLUSTER in labels, folders)


def users(running: Iterable[Running], hubs: Iterable[str], repository: str) -> tuple[str, ...]:
    """The names of those that use a model, or may. `hubs`: the cache's folder by each of its names."""
    places = [f"{hub.rstrip('/')}/{folder_name(repository)}" for hub in hubs]
    return tuple(one.name for one in running if one.uses(repository) and any(map(one.sees, places)))
