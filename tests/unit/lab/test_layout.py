from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.lab.layout import DEFAULT_SUBNET, conflict, lay_out, route_networks


def test_addresses_and_names_follow_from_the_subnet() -> None:
    layout = lay_out(Path("/x/.lab"), DEFAULT_SUBNET, 4)
    assert str(layout.node_address(0)) == "172.31.250.11"
    assert str(layout.node_address(3)) == "172.31.250.14"
    assert layout.registry == "172.31.250.2:5000"
    assert layout.node_name(2) == "sglang-spark-lab-172-31-250-0-24-spark2"


def test_two_subnets_share_no_name() -> None:
    one, other = (lay_out(Path("/x"), subnet, 1) for subnet in (DEFAULT_SUBNET, "172.31.251.0/24"))
    assert {one.slug, one.registry_name, one.node_name(0)}.isdisjoint(
        {other.slug, other.registry_name, other.node_name(0)}
    )


def test_the_smallest_subnet_holds_the_most_nodes() -> None:
    layout = lay_out(Path("/x"), "10.1.2.32/27", 16)
    assert layout.node_address(15) in layout.subnet
    assert layout.node_address(15) != layout.subnet.broadcast_address


@pytest.mark.parametrize(
    "subnet", ["172.31.250.1/24", "nonsense", "8.8.8.0/24", "10.0.0.0/28", "10.0.0.0/8", "fd00::/64"]
)
def test_a_subnet_that_cannot_be_is_refused(subnet: str) -> None:
    with pytest.raises(ConfigError, match=subnet):
        lay_out(Path("/x"), subnet, 1)


@pytest.mark.parametrize("nodes", [0, -1, 17])
def test_a_number_of_nodes_that_cannot_be_is_refused(nodes: int) -> None:
    with pytest.raises(ConfigError, match="1 to 16"):
        lay_out(Path("/x"), DEFAULT_SUBNET, nodes)


def test_a_folder_that_docker_cannot_mount_is_refused() -> None:
    with pytest.raises(ConfigError, match="colon"):
        lay_out(Path("/x:y"), DEFAULT_SUBNET, 1)


def test_overlap_is_found_in_both_directions_and_the_default_route_is_none() -> None:
    subnet = IPv4Network("172.31.250.0/24")
    assert conflict(subnet, [("eth0", "172.31.0.0/16")]) == "eth0 (172.31.0.0/16)"
    assert conflict(subnet, [("tun0", "172.31.250.7")]) == "tun0 (172.31.250.7)"
    assert conflict(subnet, [("eth0", "default"), ("any", "0.0.0.0/0"), ("lan", "192.168.0.0/16")]) is None


def test_routes_are_read_with_and_without_a_device() -> None:
    text = "default via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0 proto kernel scope link\nunreachable 10.9.0.0/16\n"
    assert route_networks(text) == [("eth0", "default"), ("eth0", "10.0.0.0/24"), ("a route", "10.9.0.0/16")]
