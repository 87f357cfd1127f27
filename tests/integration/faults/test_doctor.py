"""`doctor` on real nodes: what is broken there is told by its check, on its node, and `up` starts nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab import Lab

pytestmark = pytest.mark.integration
SNAPSHOT = "$HOME/.cache/huggingface/hub/models--zai-org--GLM-4.7-FP8"
SHARD = f"{SNAPSHOT}/snapshots/stand-in/model-00007-of-00093.safetensors"
LISTEN = "import socket,time; s=socket.socket(); s.bind(('0.0.0.0', 30000)); s.listen(); time.sleep(60)"


def examined(lab: Lab, file: str, code: int) -> dict[str, Any]:
    done = lab.run("doctor", "--json", "--nodes", file)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def failed(report: dict[str, Any]) -> dict[str, dict[int, str]]:
    """What was seen, by id and rank, of the checks that failed."""
    by_id: dict[str, dict[int, str]] = {}
    for one in report["checks"]:
        if one["outcome"] == "fail":
            by_id.setdefault(one["id"], {}).update(dict.fromkeys(one["ranks"], one["seen"]))
    return by_id


@pytest.fixture
def broken(lab: Lab) -> Any:
    """Breaks something on a node by a script, and mends it afterwards by another."""
    with ExitStack() as mending:

        def breaks(rank: int, script: str, mend: str) -> None:
            mending.callback(lab.sh, rank, mend)
            lab.sh(rank, script)

        yield breaks


def test_a_good_lab_passes_with_one_login_a_node_and_says_what_fits(lab: Lab) -> None:
    before = [lab.sh(rank, "grep -c 'Accepted publickey' /var/log/sshd.log") for rank in range(4)]
    report = examined(lab, lab.cluster(4), 0)
    after = [lab.sh(rank, "grep -c 'Accepted publickey' /var/log/sshd.log") for rank in range(4)]
    assert [int(b) - int(a) for a, b in zip(before, after, strict=True)] == [1] * 4
    assert report["passed"]
    assert {one["outcome"] for one in report["checks"] if one["id"].startswith(("fabric", "rdma"))} == {"pass"}
    assert report["fit"]["weights"] == 82 << 30
    assert 150_000 < report["fit"]["tokens"] < 250_000


def test_everything_that_is_broken_is_told_at_once_and_up_starts_nothing(
    lab: Lab, broken: Callable[[int, str, str], None]
) -> None:
    broken(0, f'setsid python3 -c "{LISTEN}" >/dev/null 2>&1 & echo $! > /run/listener', "kill $(cat /run/listener)")
    broken(1, "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500")
    broken(2, f"mv {SHARD} /root/shard", f"mv /root/shard {SHARD}")
    move = f"cp -r --reflink=auto --sparse=always {SNAPSHOT}/snapshots/stand-in {SNAPSHOT}/snapshots/other"
    broken(
        3,
        f"{move}; echo other > {SNAPSHOT}/refs/main",
        f"rm -r {SNAPSHOT}/snapshots/other; echo stand-in > {SNAPSHOT}/refs/main",
    )
    file = lab.cluster(4, environment={"NCCL_IB_HCA": "mlx5_1"})
    found = failed(examined(lab, file, 4))
    assert {name: sorted(ranks) for name, ranks in found.items()} == {
        "port.server": [0],
        "fabric.mtu": [1],
        "fabric.reach": [0, 2, 3],
        "model.snapshot": [2],
        "model.revision": [3],
        "nccl.hca": [0, 1, 2, 3],
    }
    assert "model-00007-of-00093.safetensors" in found["model.snapshot"][2]
    done = lab.run("up", "--nodes", file)
    assert done.returncode == 4
    for words in ("fabric.mtu: MTU 1400", "port 30000 (server.port) is in use", "nccl.hca: NCCL_IB_HCA=mlx5_1 matches"):
        assert words in done.stderr
    assert lab.containers() == []


def test_a_peer_that_is_cut_off_one_way_is_told_by_both(lab: Lab, broken: Callable[[int, str, str], None]) -> None:
    address = lab.fleet.nodes[3].fabric
    rule = f"INPUT -s {address} -j DROP"
    broken(2, f"iptables --wait -I {rule}", f"iptables --wait -D {rule}")
    found = failed(examined(lab, lab.cluster(4), 4))
    assert {name: sorted(ranks) for name, ranks in found.items()} == {"fabric.reach": [2, 3]}
    assert f"{address}: 100% packet loss" in found["fabric.reach"][2]


def test_a_node_that_is_away_is_told_with_the_others_checks(lab: Lab) -> None:
    text = Path(lab.cluster(2)).read_text()
    host = lab.fleet.nodes[1].host
    away = lab.folder / "away.yaml"
    away.write_text(text.replace(f"host: {host}", f"host: {host}\n  port: 9"))
    report = examined(lab, str(away), 4)
    found = failed(report)
    assert list(found["ssh.login"]) == [1]
    assert any(one["id"] == "docker.engine" and one["ranks"] == [0] for one in report["checks"])


def test_an_all_gather_is_started_in_the_image_and_leaves_nothing(lab: Lab) -> None:
    """The stand-in has no torch, so nothing is measured; that it says so comes from inside the containers."""
    file = lab.cluster(2)
    reference = lab.good("push", "--nodes", file).stdout.strip()
    for rank in (0, 1):
        lab.sh(rank, f"docker pull --quiet {reference}")
    assert "no torch in this image" in lab.good("doctor", "--bandwidth", "--nodes", file).stdout
    assert lab.containers() == []
