"""The one way to end a cluster's ranks on a node, as a command. Runs nothing."""

from __future__ import annotations

from deploy import container
from deploy.command import Command
from deploy.launch.plan import secrets_path

_SCRIPT = """
ids=$(docker ps --all --quiet --filter "label=$1=$2") || exit 1
if [ -n "$ids" ]; then
  [ "$3" -eq 0 ] || docker stop --time "$3" $ids > /dev/null
  docker rm --force --volumes $ids || exit 1
fi
rm -f "$HOME/$4"
"""


def takedown(cluster: str, grace: int) -> Command:
    """Stop within `grace` seconds, remove, forget the secrets; prints a line a container. Safe to repeat."""
    argv = ("sh", "-c", _SCRIPT, "sh", container.CLUSTER, cluster, str(grace), secrets_path(cluster))
    return Command(argv, timeout=grace + 60)
