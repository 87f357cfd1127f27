"""The report as text and JSON, and the all-gather's commands and judgement."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from deploy.cluster.load import load, parse
from deploy.command import Command, Result
from deploy.errors import ConfigError
from deploy.launch.doctor import bandwidth, report
from deploy.launch.doctor.check import FAIL, MENDS, PASS, SKIP, Check
from deploy.launch.doctor.examine import examine
from deploy.launch.doctor.fit import fit_of
from deploy.launch.doctor.report import Report
from deploy.launch.doctor.seen import Case
from deploy.launch.node import RunningRank
from deploy.workflow.asked import checked
from tests.unit.launch.samples import DIGEST, GOLDEN, case

CLUSTER = load(GOLDEN / "four-sparks" / "cluster.yaml").cluster
BROKEN = Check("fabric.mtu", FAIL, (1, 3), "MTU 1500", "9000, as on 2 of 4 nodes", MENDS["fabric.mtu"])


def whole(*more: Check) -> Report:
    seen = case(CLUSTER)
    return Report(CLUSTER, (*examine(seen), *more), fit_of(seen))


def test_the_report_passes_unless_a_check_failed() -> None:
    assert whole().passed
    assert not whole(BROKEN).passed


def test_failures_stand_last_with_nodes_need_and_cure() -> None:
    *_, failed, cure, counts = report.text(whole(BROKEN)).splitlines()
    assert failed.split(None, 2)[:2] == ["FAIL", "fabric.mtu"]
    assert failed.endswith("spark2, spark4: MTU 1500; needed: 9000, as on 2 of 4 nodes")
    assert cure.strip() == "-> " + MENDS["fabric.mtu"]
    assert counts.endswith("1 warned, 1 failed")


def test_the_json_is_whole() -> None:
    found = json.loads(report.as_json(whole(BROKEN)))
    assert set(found) == {"format", "cluster", "passed", "counts", "nodes", "checks", "fit"}
    assert (found["format"], found["passed"], found["counts"]["failed"]) == (1, False, 1)
    assert {one["id"] for one in found["checks"]} == set(MENDS) - {"bandwidth"}
    assert found["checks"][-1]["nodes"] == ["spark2", "spark4"]
    assert {"tokens", "largest_context", "largest_requests", "kv_per_token"} <= set(found["fit"])


def test_the_guide_lists_every_id_in_order() -> None:
    guide = (GOLDEN.parents[1] / "docs" / "doctor.md").read_text()
    assert re.findall(r"^\| `([a-z.-]+)` \|", guide, re.MULTILINE) == list(MENDS)


@pytest.mark.parametrize(
    ("name", "words"),
    [("rdma.devise", "did you mean rdma.device?"), ("docker.engine", "cannot be allowed"), ("x", "no check is called")],
)
def test_only_known_ids_are_allowed(name: str, words: str) -> None:
    text = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()
    with pytest.raises(ConfigError, match=r"doctor\.allow") as error:
        checked(parse("c.yaml", f"{text}doctor: {{allow: [{name}]}}\n"))
    assert words in error.value.message


def gathered(case_: Case) -> Case:
    image = (("ghcr.io/owner/sglang-spark-glm47", DIGEST),)
    return replace(case_, nodes={r: replace(n, facts=replace(n.facts, images=image)) for r, n in case_.nodes.items()})


def test_an_all_gather_needs_all_nodes_idle_with_one_image() -> None:
    ready = gathered(case(CLUSTER))
    assert bandwidth.obstacle(ready) == ""
    assert "image" in bandwidth.obstacle(case(CLUSTER))
    assert "reached" in bandwidth.obstacle(replace(ready, nodes={0: ready.nodes[0]}))
    rank = RunningRank("x", 0, "four-sparks", "", "", "running", "")
    busy = replace(ready.nodes[0], facts=replace(ready.nodes[0].facts, ranks=(rank,)))
    assert "run" in bandwidth.obstacle(replace(ready, nodes={**ready.nodes, 0: busy}))


def test_each_rank_gathers_with_the_fabric_s_environment_and_leaves_nothing() -> None:
    commands = bandwidth.commands(gathered(case(CLUSTER)))
    argv = commands[2].argv
    assert argv[:3] == ("docker", "run", "--rm")
    assert "--detach" not in argv
    assert {"NCCL_IB_HCA==rocep1s0f0:1", "NCCL_SOCKET_IFNAME==enp1s0f0np0", "/dev/infiniband/uverbs0"} <= set(argv)
    assert f"ghcr.io/owner/sglang-spark-glm47@{DIGEST}" in argv
    assert argv[argv.index("--rank") + 1] == "2"
    assert argv[argv.index("--address") + 1] == "192.168.101.11"
    assert bandwidth.removals(case(CLUSTER))[2].argv[-1] == argv[argv.index("--name") + 1]


def said(text: str, code: int | None = 0) -> Check:
    (one,) = bandwidth.judge({0: Result(Command(("x",)), code, text)})
    return one


@pytest.mark.parametrize(("seconds", "outcome"), [(0.0368, PASS), (0.0369, FAIL)])
def test_the_bus_is_held_to_what_the_link_can_do(seconds: float, outcome: str) -> None:
    """1 GiB of four ranks in 36.8 ms: 29.2 GB/s of the all-gather, three quarters of it over each link."""
    assert said(json.dumps({"bytes": 1 << 30, "seconds": seconds, "ranks": 4})).outcome == outcome


def test_a_rank_that_breaks_or_has_no_torch_is_told() -> None:
    assert said('{"missing": "no torch in this image"}').outcome == SKIP
    assert said("Traceback\nRuntimeError: NCCL error", 1).outcome == FAIL
    assert said("", None).seen.startswith("not ended within")
    assert said("NCCL INFO waiting", 142).seen.startswith("not ended within")


def test_the_network_is_read_from_nccl_s_log() -> None:
    answer = json.dumps({"bytes": 1 << 30, "seconds": 0.03, "ranks": 4})
    assert said(f"NCCL INFO Using network IB\n{answer}\nNCCL INFO ENV/Plugin: Closing").seen.endswith("network: IB")
    log = f"NCCL INFO NET/IB : No device found.\nvm:553:553 [0] NCCL INFO Using network Socket\n{answer}"
    assert said(log).seen.endswith("network: Socket")
