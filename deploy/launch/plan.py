"""From a cluster, an image and facts to the commands that make it so. Pure: no host, clock or file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deploy import container
from deploy.cluster.spec import Cluster
from deploy.command import Command
from deploy.container import Container
from deploy.launch.environment import COMPILE_MOUNT, environment
from deploy.launch.node import NodeFacts
from deploy.launch.secret import SECRETS_MOUNT, has_secrets, secrets_text, served
from deploy.launch.sglang import server_argv, server_port

PULL, LOAD, COPY, START = "pull", "load", "copy", "start"
BRINGING = (PULL, LOAD, COPY)
"""The steps that bring the image to the nodes."""
PULL_TIMEOUT = 4 * 3600.0
# Importing torch from a cold disk is most of it.
SELF_TEST_TIMEOUT = 300.0
SELF_TEST = "self-test"
FIRST_FREE_PORT = 1024
LONG_WORD = 1000
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Step:
    """Commands that run at the same time, one a node, by rank."""

    title: str
    commands: Mapping[int, Command]


@dataclass(frozen=True)
class Brought:
    """How the image comes to the nodes that lack it: steps, by rank what happens and how much comes, and the reference
    by which a node knows it afterwards."""

    steps: tuple[Step, ...] = ()
    told: Mapping[int, str] = field(default_factory=dict)
    references: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Steps in order. No steps: the ranks run as asked already. `why` says what differs, `delivery` how the image
    comes to each node."""

    steps: tuple[Step, ...]
    containers: tuple[str, ...]
    url: str
    why: str
    delivery: Mapping[int, str] = field(default_factory=dict)


def up(
    cluster: Cluster, image: str, facts: Sequence[NodeFacts], secrets: Mapping[str, str], brought: Brought | None = None
) -> Plan:
    """The plan that makes every rank run `image` (REPOSITORY@sha256:…). Ranks cannot rejoin: all change or none."""
    coming = brought or pulled(image, facts)
    ranks = [rank_container(cluster, rank, image, node) for rank, node in enumerate(facts)]
    why = difference(ranks, facts)
    names = tuple(rank.name for rank in ranks)
    here = [replace(one, image=_reference(one.image, facts[rank], coming, rank)) for rank, one in enumerate(ranks)]
    steps = (*coming.steps, *_steps(cluster, here, facts, secrets)) if why else ()
    told = coming.told if why else {}
    return Plan(steps, names, f"http://{cluster.head.host}:{server_port(cluster)}", why, told)


def lacking(image: str, facts: Sequence[NodeFacts]) -> tuple[int, ...]:
    """The ranks whose node does not have REPOSITORY@sha256:…."""
    repository, _, digest = image.partition("@")
    return tuple(rank for rank, node in enumerate(facts) if digest not in node.digests(repository))


def pulled(image: str, facts: Sequence[NodeFacts]) -> Brought:
    """Every node that lacks the image pulls it by itself."""
    ranks = lacking(image, facts)
    command = Command(container.pull(image), timeout=PULL_TIMEOUT, loose=True)
    steps = (Step(PULL, dict.fromkeys(ranks, command)),) if ranks else ()
    return Brought(steps, {}, dict.fromkeys(ranks, image))


def _reference(image: str, facts: NodeFacts, coming: Brought, rank: int) -> str:
    repository, _, digest = image.partition("@")
    return coming.references.get(rank) or facts.reference(repository, digest)


def rank_name(cluster: Cluster, rank: int) -> str:
    return f"sglang-spark-{cluster.name}-rank{rank}"


def rank_container(cluster: Cluster, rank: int, image: str, facts: NodeFacts) -> Container:
    """The container of one rank, with a hash of all that it was started with among its labels."""
    argv, mounts = served(cluster, rank, server_argv(cluster, rank)), _mounts(cluster, facts)
    if has_secrets(cluster, rank):
        mounts = (*mounts, f"{secrets_file(cluster, facts)}:{SECRETS_MOUNT}:ro")
    devices = facts.rdma_devices if facts.rdma_for(cluster.nodes[rank].fabric) else ()
    plain = Container(
        rank_name(cluster, rank), image, argv, {}, environment(cluster, rank, facts), mounts, tuple(devices),
        _capabilities(cluster, rank),
    )  # fmt: skip
    return replace(plain, labels=_labels(cluster, rank, plain))


def _capabilities(cluster: Cluster, rank: int) -> tuple[str, ...]:
    """What cluster.yaml adds, and what a low port needs: the host's network has the host's rule for ports."""
    ports = [server_port(cluster), *([cluster.rendezvous_port] if rank == 0 else [])]
    low = ("NET_BIND_SERVICE",) if min(ports) < FIRST_FREE_PORT else ()
    return (*low, *cluster.container.capabilities)


def _labels(cluster: Cluster, rank: int, plain: Container) -> dict[str, str]:
    launch = hashlib.sha256("\0".join(container.run(plain)).encode()).hexdigest()[:16]
    digest = plain.image.partition("@")[2]
    return {
        container.CLUSTER: cluster.name,
        container.RANK: str(rank),
        container.DIGEST: digest,
        container.LAUNCH: launch,
    }


def _mounts(cluster: Cluster, facts: NodeFacts) -> tuple[str, ...]:
    pairs = (f"{cluster.mounts.huggingface}:/root/.cache/huggingface", f"{cluster.mounts.compile}:{COMPILE_MOUNT}")
    return tuple(_expand(mount, facts) for mount in (*pairs, *cluster.mounts.extra))


def _expand(path: str, facts: NodeFacts) -> str:
    return facts.home + path[1:] if path == "~" or path.startswith("~/") else path


def secrets_file(cluster: Cluster, facts: NodeFacts) -> str:
    return f"{facts.home}/{secrets_path(cluster.name)}"


def secrets_path(cluster: str) -> str:
    """Where a cluster's secrets lie on a node, below the home folder of the SSH user."""
    return f".cache/sglang-spark/{cluster}.secrets.env"


def difference(ranks: Sequence[Container], facts: Sequence[NodeFacts]) -> str:
    """What differs between the ranks wanted and the ranks that run; empty where nothing does."""
    reasons = []
    for rank, (wanted, node) in enumerate(zip(ranks, facts, strict=True)):
        found = next((one for one in node.ranks if one.container == wanted.name), None)
        if found is None or found.state != "running":
            reasons.append(f"rank {rank} " + (f"is {found.state}" if found else "does not run"))
        elif found.launch != wanted.labels[container.LAUNCH]:
            same = found.digest == wanted.labels[container.DIGEST]
            reasons.append(f"rank {rank} runs with other {'settings' if same else 'image'}")
        reasons += [f"{one.container} is left over" for one in node.ranks if one.container != wanted.name]
    return "; ".join(reasons)


def _steps(
    cluster: Cluster, ranks: Sequence[Container], facts: Sequence[NodeFacts], secrets: Mapping[str, str]
) -> Iterator[Step]:
    repository, digest = cluster.image.repository, ranks[0].labels[container.DIGEST]
    proofs = {
        rank: Command(container.self_test(one.image, repository), timeout=SELF_TEST_TIMEOUT)
        for rank, one in enumerate(ranks)
        if digest not in facts[rank].self_tested(repository)
    }
    old = {rank: tuple(one.container for one in node.ranks) for rank, node in enumerate(facts)}
    removals = {rank: Command(container.remove(*names)) for rank, names in old.items() if names}
    prepare = {rank: _prepare(cluster, rank, facts[rank], secrets) for rank in range(len(ranks))}
    starts = {rank: Command(container.run(one)) for rank, one in enumerate(ranks)}
    # What runs goes only when what is to come has proven itself.
    steps = (Step(SELF_TEST, proofs), Step("remove", removals))
    return (step for step in (*steps, Step("prepare", prepare), Step(START, starts)) if step.commands)


def _prepare(cluster: Cluster, rank: int, facts: NodeFacts, secrets: Mapping[str, str]) -> Command:
    """Make the mounted folders, and the secrets file readable by its owner alone before it has content."""
    folders = [mount.split(":")[0] for mount in _mounts(cluster, facts)[:2]]
    if not has_secrets(cluster, rank):
        return Command(("mkdir", "-p", *folders))
    script = 'file=$1; shift; mkdir -p "$@" "${file%/*}" && rm -f "$file" && umask 077 && cat > "$file"'
    argv = ("sh", "-c", script, "sh", secrets_file(cluster, facts), *folders)
    return Command(argv, stdin=secrets_text(cluster, rank, secrets), secret=True)


def describe(plan: Plan, cluster: Cluster) -> str:
    """The plan as text: what `--dry-run` prints. Secrets are never part of a command line."""
    if not plan.steps:
        return f"{cluster.name}: nothing to do, the ranks run as asked"
    lines = [f"{cluster.name}: {plan.why}"]
    lines += [f"image for {cluster.nodes[rank].host}: {what}" for rank, what in sorted(plan.delivery.items())]
    for step in plan.steps:
        lines.append(f"{step.title}, on all nodes at once:")
        lines += [f"  {cluster.nodes[rank].host}: {_shown(command)}" for rank, command in step.commands.items()]
    return "\n".join(lines)


def _shown(command: Command) -> str:
    """A command without the text of a program in it."""
    words = (f"...{len(word)} characters..." if len(word) > LONG_WORD else word for word in command.argv)
    return str(replace(command, argv=tuple(words)))


def as_json(plan: Plan, cluster: Cluster) -> str:
    """The plan for scripts: steps with an argument vector a rank."""
    steps = [{"step": step.title, "ranks": {str(r): c.argv for r, c in step.commands.items()}} for step in plan.steps]
    told = {"cluster": cluster.name, "why": plan.why, "url": plan.url, "steps": steps}
    delivery = {str(rank): what for rank, what in sorted(plan.delivery.items())}
    return json.dumps({**told, **({"delivery": delivery} if delivery else {})}, indent=2)
