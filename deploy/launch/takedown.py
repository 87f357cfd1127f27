"""The ways to end a cluster's ranks on a node, as commands: remove them, or kill them and keep their logs."""

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


_HALT = """
date '+clock %s.%N'
ids=$(timeout 10 docker ps --all --quiet --no-trunc --filter "label=$1=$2" 2>&1) || {
  echo "docker_error $ids" | tail -n 1
  exit 0
}
[ -n "$ids" ] || exit 0
format='container {"name":{{json .Name}},"labels":{{json .Config.Labels}},"state":{{json .State}}}'
docker inspect --format "$format" $ids
running=$(docker ps --quiet --no-trunc --filter "label=$1=$2")
[ -z "$running" ] || timeout 20 docker kill $running > /dev/null 2>&1
running=$(docker ps --quiet --no-trunc --filter "label=$1=$2")
[ -z "$running" ] || echo "alive $running"
"""


def halt(cluster: str) -> Command:
    """Kill what runs, at once, and keep the containers; prints how they were before. Safe to repeat."""
    return Command(("sh", "-c", _HALT, "sh", container.CLUSTER, cluster), timeout=60)
