"""How secrets reach the server of a rank: the text of its secrets file, and the command that reads it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.cluster.spec import Cluster
from deploy.inside.serve import KEY

SECRETS_MOUNT = "/run/secrets/sglang-spark.env"
SERVE = "/opt/sglang-spark/deploy/inside/serve.py"


def has_secrets(cluster: Cluster, rank: int) -> bool:
    """Whether a rank gets a secrets file. Only the API asks for a key, and only rank 0 serves it."""
    return bool(cluster.secrets) or _has_key(cluster, rank)


def _has_key(cluster: Cluster, rank: int) -> bool:
    return rank == 0 and cluster.api_key is not None


def served(cluster: Cluster, rank: int, argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv`, a `python3 -m MODULE ...`, with whatever is needed around it to get this rank's secrets."""
    if _has_key(cluster, rank):
        argv = ("python3", SERVE, SECRETS_MOUNT, *argv[2:])
    return ("sh", "-c", f'. {SECRETS_MOUNT}; exec "$@"', "sh", *argv) if cluster.secrets else argv


def secrets_text(cluster: Cluster, rank: int, values: Mapping[str, str]) -> str:
    """Lines that a POSIX shell reads back to the letter; `values` by the names in cluster.yaml. Raises KeyError."""
    lines = [f"export {name}={_quoted(values[name])}\n" for name in cluster.secrets]
    # Not exported: the key is in no process's environment.
    return "".join(lines) + (f"{KEY}={_quoted(values[cluster.api_key])}\n" if _has_key(cluster, rank) else "")  # type: ignore[index]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
