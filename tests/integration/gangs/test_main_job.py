"""The main job on real parts: four ranks on four nodes, asked, looked at, changed and taken down."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.integration.lab import NODES, Lab

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "required": ["city", "days"],
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}


def chat(lab: Lab, **body: Any) -> list[Any]:
    """Chunks of a streamed answer, straight from rank 0's port."""
    address = lab.fleet.nodes[0].host
    request = urllib.request.Request(
        f"http://{address}:30000/v1/chat/completions",
        json.dumps({"model": "any", "stream": True, "stream_options": {"include_usage": True}, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = [line.decode().strip() for line in answer]
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_whole_job(lab: Lab) -> None:
    file = lab.cluster(4)
    up = lab.good("up", "--nodes", file)
    assert f"serves at http://{lab.fleet.nodes[0].host}:30000/v1" in up.stderr
    for rank in range(4):
        assert f"rank {rank} on {lab.fleet.nodes[rank].host}: ready" in up.stderr
    assert sorted(lab.containers()) == [f"sglang-spark-lab-rank{rank} running" for rank in range(4)]

    chunks = chat(lab, messages=user("hello"))
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    usage = chunks[-1]["usage"]
    thought = "".join(choice["delta"].get("reasoning_content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.strip()
    assert thought.strip()
    assert "</think>" not in text + thought
    assert usage["completion_tokens"] > len(chunks) > 2, "several tokens come in a chunk"

    calls = chat(lab, messages=user("get_weather in Lisbon for 3 days"), tools=[TOOL])
    deltas = [
        piece for chunk in calls for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls") or []
    ]
    arguments = json.loads("".join(piece["function"].get("arguments") or "" for piece in deltas))
    assert deltas[0]["function"]["name"] == "get_weather"
    assert set(arguments) == {"city", "days"}
    assert isinstance(arguments["days"], int)

    status = json.loads(lab.good("status", "--json", "--nodes", file).stdout)
    assert status["serving"] is True
    assert len({rank["digest"] for rank in status["ranks"]}) == 1
    assert {rank["health"] for rank in status["ranks"]} == {"200"}

    again = lab.good("up", "--nodes", file)
    assert "nothing to change" in again.stderr
    assert json.loads(lab.good("status", "--json", "--nodes", file).stdout) == status

    changed = lab.cluster(4, server={"context-length": 4096})
    assert "runs with other settings" in lab.good("up", "--nodes", changed).stderr
    after = json.loads(lab.good("status", "--json", "--nodes", file).stdout)
    assert all(new["since"] > old["since"] for new, old in zip(after["ranks"], status["ranks"], strict=True))

    logs = lab.good("logs", "--rank", "2", "--nodes", file).stdout
    assert "Init torch distributed ends" in logs
    assert "rank 3 | " in lab.good("logs", "--tail", "3", "--nodes", file).stdout

    lab.good("down", "--nodes", file)
    assert lab.containers() == []
    assert not any(lab.listening(rank, port) for rank in range(4) for port in (30000, 50000))
    assert "nothing ran" in lab.good("down", "--nodes", file).stderr
    assert lab.run("status", "--nodes", file).returncode == 13


@pytest.mark.parametrize("nodes", [1, 2, NODES])
def test_one_two_and_eight_nodes_work_alike(lab: Lab, nodes: int) -> None:
    file = lab.cluster(nodes)
    lab.good("up", "--nodes", file)
    assert len(lab.containers()) == nodes
    answer = lab.good("ask", "get_weather for 2 days", "--tools", _tools(lab), "--nodes", file).stdout
    assert json.loads(answer.strip().splitlines()[-1])["name"] == "get_weather"
    assert lab.listening(0, 50000) is (nodes > 1)


def _tools(lab: Lab) -> str:
    file = lab.folder / "tools.json"
    file.write_text(json.dumps([TOOL]))
    return str(file)


def test_the_ranks_read_the_kernel_table_that_the_image_carries(lab: Lab) -> None:
    file = lab.cluster(4)
    lab.good("up", "--nodes", file)
    logs = lab.good("logs", "--rank", "0", "--nodes", file).stdout
    assert "Using MoE kernel config from" in logs
    assert "triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json" in logs


def test_the_fabric_s_rdma_port_is_found_on_each_node(lab: Lab) -> None:
    file = lab.cluster(2)
    lab.good("up", "--nodes", file)
    shown = json.loads(lab.sh(1, "docker inspect sglang-spark-lab-rank1"))[0]
    environment = dict(line.split("=", 1) for line in shown["Config"]["Env"])
    assert environment["SGLANG_HOST_IP"] == lab.fleet.nodes[1].fabric
    assert environment["NCCL_IB_HCA"] == "=rocep1s0f0:1"
    assert environment["NCCL_IB_GID_INDEX"] == "3"
    assert environment["GLOO_SOCKET_IFNAME"] == "eth0"
    assert "/dev/infiniband/uverbs0" in [device["PathOnHost"] for device in shown["HostConfig"]["Devices"]]
    assert shown["HostConfig"]["Init"] is True
    assert shown["Path"] == "python3"


def test_the_plan_of_a_dry_run_is_what_up_does_and_touches_nothing(lab: Lab) -> None:
    file = lab.cluster(2)
    plan = json.loads(lab.good("up", "--dry-run", "--json", "--nodes", file).stdout)
    assert lab.containers() == []
    lab.good("up", "--nodes", file)
    start = plan["steps"][-1]["ranks"]["1"]
    shown = json.loads(lab.sh(1, "docker inspect sglang-spark-lab-rank1"))[0]
    assert start[-len(shown["Config"]["Cmd"]) :] == shown["Config"]["Cmd"]
    assert start[start.index("--name") + 1] == shown["Name"].lstrip("/")
