"""Where an API without a key can be reached, and whether one with a key is locked."""

from __future__ import annotations

import pytest

from deploy.cluster.load import parse
from deploy.cluster.spec import Cluster
from deploy.launch.exposure import exposure, judge_lock
from tests.unit.launch.samples import GOLDEN

ADDRESSES = (("lo", "127.0.0.1"), ("wlP9s9", "10.1.2.3"), ("enp1s0f0np0", "192.168.101.11"), ("docker0", "172.17.0.1"))


def cluster(host: str, more: str = "") -> Cluster:
    text = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()
    return parse("c", text + f"server: {{host: '{host}'}}\n{more}").cluster


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.1.1", "::1", "localhost", "192.168.101.11"])
def test_loopback_and_fabric_are_not_public(host: str) -> None:
    assert exposure(cluster(host), ADDRESSES) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_api_on_every_address_names_those_of_rank_0(host: str) -> None:
    found = exposure(cluster(host), ADDRESSES)
    assert found is not None
    assert found.addresses == ("10.1.2.3 (wlP9s9)", "172.17.0.1 (docker0)")
    assert "port 30000 on 10.1.2.3 (wlP9s9), 172.17.0.1 (docker0)" in found.seen


def test_an_open_api_on_one_address_names_it() -> None:
    found = exposure(cluster("10.1.2.3"), ADDRESSES)
    assert found is not None
    assert found.addresses == ("10.1.2.3",)


def test_a_node_that_has_only_the_fabric_is_not_public() -> None:
    assert exposure(cluster("0.0.0.0"), ADDRESSES[::2]) is None


def test_what_the_node_did_not_tell_may_be_public() -> None:
    for host, addresses in (("0.0.0.0", ()), ("::", ADDRESSES[::2])):
        found = exposure(cluster(host), addresses)
        assert found is not None
        assert "every address of its node" in found.seen


def test_with_a_key_it_may_be_anywhere() -> None:
    assert exposure(cluster("0.0.0.0", "api_key: API_KEY\n"), ADDRESSES) is None


@pytest.mark.parametrize(
    ("with_key", "without", "says"),
    [
        (200, 401, ""),
        (401, 401, "does not take the key in API_KEY"),
        (0, 0, "answered 0 to a request with the key"),
        (200, 200, "asks for no key: it answered 200"),
        (200, 0, "asks for no key: it answered 0"),
    ],
)
def test_a_lock_opens_with_the_key_and_not_without(with_key: int, without: int, says: str) -> None:
    assert (says in judge_lock("API_KEY", with_key, without)) if says else judge_lock("K", with_key, without) == ""
