"""What nodes are told to run, as data: the program that is sent, its order, and a container where the hub is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.container import LABEL, NO_RIGHTS
from deploy.weights.sent import program

WEIGHTS = f"{LABEL}.weights"
"""The label of the container that asks the hub, with the cluster's name; it has no label of a rank's."""
PORT = 26480
"""Where a node hands a model on, on its fabric address: above the tuner's ports, below those that a kernel gives."""
FOREVER = float("inf")
_NOT_THE_RANKS = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN")
_SETTINGS = {
    "HOME": "/tmp",
    "HF_HOME": "/tmp/huggingface",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # A file comes from its beginning to its end, so that it can be gone on with and handed on while it comes.
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_ENABLE_HF_TRANSFER": "0",
}
# Whoever owns the folder owns what comes into it; Docker would make a missing one as root.
_AS_OWNER = 'hub=$1; shift; mkdir -p "$hub" && exec docker run --user "$(id -u):$(id -g)" "$@"'


def here(role: str, order: Mapping[str, Any]) -> Command:
    """A role that needs nothing but the node's own Python."""
    return _command(("python3", *program(role)), order)


def at_the_hub(role: str, order: Mapping[str, Any], cluster: Cluster, image: str) -> Command:
    """A role that needs huggingface_hub, which the image has. The hub's folder has the same path in the container."""
    options = ["--rm", "--init", "--interactive", "--network", "host", *NO_RIGHTS]
    options += ["--label", f"{WEIGHTS}={cluster.name}", "--entrypoint", "python3"]
    settings = {name: value for name, value in cluster.environment.items() if name not in _NOT_THE_RANKS}
    options += [word for name, value in {**settings, **_SETTINGS}.items() for word in ("--env", f"{name}={value}")]
    hub = order["hub"]
    script = ("sh", "-c", _AS_OWNER, "sh", hub, *options, "--volume", f"{hub}:{hub}")
    return _command((*script, image, *program(role)), order)


def _command(argv: tuple[str, ...], order: Mapping[str, Any]) -> Command:
    told = json.dumps(order, separators=(",", ":")) + "\n"
    return Command(argv, stdin=told, secret=True, held=True, loose=True, timeout=FOREVER)
