from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import ConfigError
from deploy.lab import faults
from deploy.lab.layout import lay_out
from deploy.lab.machine import node


def words(kind: str, how: faults.Strength | None = None) -> list[str]:
    return [" ".join(argv) for argv in faults.commands(kind, "n", how or faults.Strength())]


def test_a_cut_in_one_direction_leaves_the_other_alone() -> None:
    assert words("cut-in") == ["docker exec n iptables --wait -I INPUT 1 -i eth0 -j DROP"]
    assert words("cut-out") == ["docker exec n iptables --wait -I OUTPUT 1 -o eth0 -j DROP"]
    assert words("cut") == words("cut-in") + words("cut-out")


def test_loss_is_given_in_percent_and_taken_away_by_the_same_rule() -> None:
    how = faults.Strength(loss=5)
    assert "--probability 0.0500 -j DROP" in words("lossy", how)[0]
    assert "-D INPUT -i eth0 -m statistic --mode random --probability 0.0500 -j DROP" in words("lossless", how)[0]


def test_what_is_done_to_the_registry_names_no_node() -> None:
    assert {kind for kind in faults.KINDS if faults.of_registry(kind)} == {
        "registry-stop", "registry-start", "registry-slow", "registry-fast",
    }  # fmt: skip


def test_a_disk_of_its_own_reaches_the_node() -> None:
    layout = lay_out(Path("/x"), "172.31.250.0/24", 1, "2G")
    assert "LAB_DISK=2G" in node(layout, 0, "image", "recipe", 0)
    with pytest.raises(ConfigError, match="not a size"):
        lay_out(Path("/x"), "172.31.250.0/24", 1, "much")
