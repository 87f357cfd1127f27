"""An image on its way to real nodes: over SSH alone, as an archive, and from node to node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from deploy.cli.output import plain
from deploy.cluster.load import load
from deploy.delivery import plan as delivery
from deploy.launch.plan import Plan
from deploy.registry.client import Registry
from deploy.registry.name import parse
from deploy.registry.repository import Repository
from deploy.remote import facts
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock
from deploy.workflow import deliver
from deploy.workflow.asked import wanted_image
from deploy.workflow.lookout import Lookout
from deploy.workflow.steps import brought
from tests.integration.lab import Lab

pytestmark = pytest.mark.timeout(120)
EMPTY = "docker image rm -f $(docker image ls -q | sort -u)"
LISTED = "docker image ls --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}'"


@pytest.fixture
def base(lab: Lab) -> str:
    """The base's reference, which node 0 and 1 have alone."""
    name = load(lab.file).cluster.image.base.replace(":spark@", "@")
    for rank in (0, 1):
        lab.sh(rank, f"{EMPTY}; docker pull --quiet {name}")
    return name


@contextmanager
def without_registry(lab: Lab, rank: int) -> Iterator[None]:
    """The node reaches no registry."""
    address = load(lab.file).cluster.image.repository.partition(":")[0]
    rule = f"iptables --wait -{{}} OUTPUT -p tcp -d {address} -j REJECT --reject-with tcp-reset"
    lab.sh(rank, rule.format("I"))
    try:
        yield
    finally:
        lab.sh(rank, rule.format("D"))


def received(lab: Lab, rank: int) -> int:
    return int(lab.sh(rank, "cat /sys/class/net/eth0/statistics/rx_bytes"))


def test_a_node_that_reaches_no_registry_gets_the_new_layers_over_ssh_and_runs_them(lab: Lab, base: str) -> None:
    file = lab.cluster(2)
    with without_registry(lab, 1):
        before = received(lab, 1)
        up = lab.good("up", "--nodes", file)
        came = received(lab, 1) - before
    host = lab.fleet.nodes[1].host
    assert f"image for {lab.fleet.nodes[0].host}: pull, " in up.stderr
    assert f"image for {host}: direct, " in up.stderr
    assert "cannot use the registry: " in up.stderr
    assert f"image to {host} over SSH: " in up.stderr
    assert came < 2_000_000, "the layers of the base, 75 MB, came again"
    repository = load(lab.file).cluster.image.repository
    digest = lab.sh(0, f"{LISTED} | grep '^{repository} '").split()[2]
    assert f"127.0.0.1:27100/{repository.replace(':', '_')} <none> {digest}" in lab.sh(1, LISTED)
    assert digest in lab.sh(1, "docker inspect --format '{{.Config.Image}}' sglang-spark-lab-rank1")
    assert "nothing to change" in lab.good("up", "--nodes", file).stderr, "both names mean one image"


def bring(lab: Lab, image: str) -> str:
    """Bring an image to the first two nodes without their registry, as `up --direct` does; all that was said."""
    cluster = load(lab.cluster(2)).cluster
    with closing(Fleet(cluster)) as fleet:
        fleet.open()
        look = dict.fromkeys(fleet.ranks, facts.command(cluster.name))
        with lock(fleet, "a test", then=look) as held:
            seen = [facts.read(result.stdout) for result in held.results.values()]
            found = deliver.planned(fleet, cluster, image, seen, direct=True)
            todo = Plan(found.brought.steps, (), "", "", found.brought.told)
            said = list(brought(Lookout(fleet, cluster), held, todo, found))
    return "\n".join(plain(event) for event in said)


def test_an_image_goes_from_node_to_node_and_what_was_loaded_is_not_sent_again(
    lab: Lab, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WORTH_COPYING", 1 << 20)
    monkeypatch.setenv("DOCKER_CONFIG", str(lab.folder / "docker"))
    image = pinned_in_registry(lab)
    lab.sh(1, EMPTY)
    said = bring(lab, image)
    source, taker = (lab.fleet.nodes[rank].host for rank in (0, 1))
    assert f"image for {source}: direct, " in said
    assert f"image for {taker}: copy, " in said
    digest = image.partition("@")[2]
    assert all(digest in lab.sh(rank, LISTED) for rank in (0, 1))
    assert f"loaded-{digest[7:19]}" in lab.sh(1, LISTED)

    before = received(lab, 1)
    said = bring(lab, base)
    assert f"image for {taker}: direct, 0.0" in said
    assert "as an archive" in said
    assert base.partition("@")[2] in lab.sh(1, LISTED)
    assert received(lab, 1) - before < 100_000, "node 1 has every layer"


def pinned_in_registry(lab: Lab) -> str:
    """The image as the registry has it: REPOSITORY@sha256:…"""
    wanted = wanted_image(load(lab.file).cluster.image)
    name = parse(wanted.reference)
    with Registry(name.host) as registry:
        return f"{name.bare}@{Repository(registry, name.repository).digest(name.tag)}"
