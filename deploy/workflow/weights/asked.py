"""Which model a cluster.yaml asks for, where a node keeps it, and the token that the hub wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import dirname

from deploy.cluster.load import Document
from deploy.cluster.source import Problem
from deploy.cluster.spec import Cluster
from deploy.errors import ConfigError
from deploy.launch.doctor.model import place
from deploy.workflow.asked import NOT_SET, checked

TOKEN = "HF_TOKEN"


@dataclass(frozen=True)
class Model:
    """`hub` is the folder of the hub's cache on a node, as cluster.yaml writes paths."""

    cluster: Cluster
    repository: str
    revision: str
    hub: str

    @property
    def order(self) -> dict[str, object]:
        """What every role is told."""
        return {"hub": self.hub, "repository": self.repository, "revision": self.revision}


@dataclass(frozen=True)
class Asking:
    """How the hub is asked: by which rank, with what token, and for how many seconds a passing trouble is borne."""

    source: int | None = None
    token: str = field(default="", repr=False)
    patience: float = 60.0


def model(document: Document, other: str = "") -> Model:
    """The model of cluster.yaml, or another one at no revision of its own. Raises ConfigError."""
    cluster = checked(document)
    if other:
        cluster = cluster.model_copy(
            update={"model": cluster.model.model_copy(update={"path": other, "revision": None})}
        )
    path = cluster.model.path
    if path.startswith("/") or not 1 <= path.count("/") + 1 <= 2:
        what = f"{path} is a folder of the container, and no name at a hub"
        raise ConfigError(what, "name a model of the hub in model.path, such as zai-org/GLM-4.7-FP8")
    folder = place(cluster)
    if not folder:
        raise ConfigError(f"{path} is in no mount, so not on the nodes", "mount the folder of HF_HUB_CACHE in mounts")
    return Model(cluster, path, cluster.model.revision or "main", dirname(folder))


def token(document: Document, environ: Mapping[str, str], name: str = "") -> str:
    """The hub's token, by its name: that asked for, else HF_TOKEN where `secrets` lists it. Raises ConfigError."""
    listed = TOKEN in document.cluster.secrets
    if not name and not listed:
        return ""
    wanted = name or TOKEN
    if not environ.get(wanted) and name:
        raise ConfigError(
            f"--token {name}: " + NOT_SET.format(name), "a token is given by its name, never by its value"
        )
    if not environ.get(wanted):
        where = ("secrets", document.cluster.secrets.index(TOKEN))
        document.source.refuse([Problem(where, NOT_SET.format(TOKEN))])
    return environ[wanted]
