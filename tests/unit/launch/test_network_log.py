"""Which network NCCL uses, from its own lines."""

from __future__ import annotations

import pytest

from deploy.launch.network_log import UNSAID, findings, read

HEAD = "spark1:71:71 [0] NCCL INFO "
IB = (
    HEAD + "NET/IB : Using [0]rocep1s0f0:1/RoCE [1]roceP2p1s0f0:1/RoCE [RO]; OOB enp1s0f0np0:192.168.101.11<0>",
    HEAD + "Using network IB",
    HEAD + "Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0",
)
# As one H200 host without RDMA logged them (SGLang 0.5.14, NCCL 2.28.9).
SOCKET = (
    HEAD + "NET/IB : No device found.",
    HEAD + "NET/Socket : Using [0]lo:127.0.0.1<0>",
    HEAD + "Using network Socket",
)


def test_rdma_is_proven_with_its_devices() -> None:
    found = read(IB)
    assert (found.kind, found.names) == ("rdma", "rocep1s0f0:1/RoCE roceP2p1s0f0:1/RoCE")


def test_sockets_are_told() -> None:
    found = read(SOCKET)
    assert (found.kind, found.names) == ("sockets", "lo:127.0.0.1<0>")


@pytest.mark.parametrize(
    "line", ["Assigned NET plugin Socket to comm", "Channel 03/0 : 1[0] -> 2[0] [receive] via NET/Socket/1"]
)
def test_one_communicator_on_sockets_is_enough(line: str) -> None:
    assert read([*IB, HEAD + line]).kind == "sockets"


def test_a_plugin_is_told_by_its_name() -> None:
    assert read([HEAD + "Using network AWS-Libfabric"]).kind == "AWS-Libfabric"


def test_devices_alone_prove_nothing() -> None:
    assert read([IB[0]]).kind == ""
    assert read(["Using network IB", "via NET/IB/0", "a prompt about NET/Socket"]) == UNSAID


def test_each_network_is_told_once_and_sockets_are_loud() -> None:
    found = findings({0: read(IB), 1: read(IB), 2: read(SOCKET), 3: UNSAID})
    assert [(one.level, one.ranks) for one in found] == [("info", (0, 1)), ("warning", (2,)), ("info", (3,))]
    assert "RDMA, as NCCL says itself: rocep1s0f0:1/RoCE" in found[0].text
    assert "TCP SOCKETS" in found[1].text
    assert found[1].cure
    assert "not known" in found[2].text


def test_a_single_rank_has_no_network() -> None:
    assert findings({0: UNSAID}) == ()
