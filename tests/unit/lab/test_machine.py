from __future__ import annotations

import itertools
from pathlib import Path

from deploy.lab import machine
from deploy.lab.layout import DEFAULT_SUBNET, lay_out

EVERYTHING = (1 << 41) - 1
LAYOUT = lay_out(Path("/x/.lab"), DEFAULT_SUBNET, 4)


def pairs(argv: tuple[str, ...]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(argv))


def test_a_machine_with_every_capability_runs_nodes_privileged() -> None:
    options = machine.privileges(EVERYTHING)
    assert "--privileged" in options
    assert ("--ulimit", "memlock=-1") in pairs(options)


def test_a_machine_that_may_not_raise_limits_asks_for_no_more_than_it_has() -> None:
    options = machine.privileges(EVERYTHING & ~machine.SYS_RESOURCE)
    assert "--privileged" not in options
    assert "--ulimit" not in options
    assert "SYS_RESOURCE" not in options
    assert ("--cap-add", "SYS_ADMIN") in pairs(options)
    assert len([word for word in options if word == "--cap-add"]) == 34


def test_the_bounding_set_is_read_from_the_status_of_a_process() -> None:
    status = "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n"
    assert machine.bounding_set(status) & machine.SYS_RESOURCE == 0
    assert machine.bounding_set(status) | machine.SYS_RESOURCE == EVERYTHING


def test_everything_of_a_lab_can_be_found_by_its_labels() -> None:
    labels = {("--label", "io.sglang-spark.lab.folder=/x/.lab"), ("--label", f"io.sglang-spark.lab={LAYOUT.slug}")}
    for argv in (
        machine.network(LAYOUT),
        machine.registry(LAYOUT, "image", "recipe"),
        machine.node(LAYOUT, 0, "image", "recipe", EVERYTHING),
    ):
        assert labels <= pairs(argv)


def test_a_node_has_its_own_address_name_and_volume() -> None:
    argv = machine.node(LAYOUT, 2, "image", "recipe", EVERYTHING)
    assert {("--hostname", "spark2"), ("--ip", "172.31.250.13")} <= pairs(argv)
    assert any(f"source={LAYOUT.node_name(2)}-docker," in word for word in argv)
    assert argv[-2:] == ("image", "node")


def test_the_registry_has_no_privileges_but_over_its_own_network() -> None:
    argv = machine.registry(LAYOUT, "image", "recipe")
    assert not {"--privileged", "--security-opt"} & set(argv)
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--cap-add"] == ["NET_ADMIN"]
    assert ("--network", LAYOUT.slug) in pairs(argv)


def test_the_network_reaches_nothing_beyond_this_machine() -> None:
    assert "--internal" in machine.network(LAYOUT)


def test_a_listing_is_read_registry_first_and_nodes_in_order() -> None:
    names = ("lab-spark10", "lab-spark2", "lab-registry")
    text = "".join(f"{name}\trunning\t{name[4:9]}\t10.0.0.1\tr\tlab\n" for name in names).replace("regis", "registry")
    text = text.replace("\tspark\t", "\tnode\t").replace("lab-registrytry", "lab-registry")
    found = machine.read_listing(text)
    assert [one.hostname for one in found] == ["registry", "spark2", "spark10"]
    assert found[1].state == "running"
