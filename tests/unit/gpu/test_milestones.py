"""Milestones are recognised in the wording of either SGLang version."""

from __future__ import annotations

import pytest

from tests.gpu.milestones import milestones, recognise, start


@pytest.mark.parametrize(
    ("line", "name", "detail"),
    [
        ("[2026-01-01 00:00:00 TP1] Init torch distributed ends. mem usage=0.1 GB", "init-end", ""),
        ("Init torch distributed ends. elapsed=3.1 s, mem usage=0.1 GB", "init-end", ""),
        ("Load weight end. elapsed=1 s, type=Glm4MoeForCausalLM, dtype=x", "load-end", "Glm4MoeForCausalLM"),
        ("Capture cuda graph begin. This can take", "graph-begin", ""),
        ("Capture target verify CUDA graph begin. backend=x", "graph-begin", ""),
        ("Capture draft extend cuda graph end. Time", "graph-end", "draft extend"),
        ("node:1:1 [0] NCCL INFO NET/IB : No device found.", "nccl-ib", "No device found"),
        (
            "Using default MoE kernel config. Performance might be sub-optimal! Config file not found at "
            "/a/configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json, you can",
            "table-default",
            "triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json",
        ),
        ("Using MoE kernel config from /a/triton_3_5_0/E=1,N=2.json.", "table", "triton_3_5_0/E=1,N=2.json"),
    ],
)
def test_a_line_is_recognised(line: str, name: str, detail: str) -> None:
    found = recognise(line, 1.0)
    assert found is not None
    assert (found.name, found.detail) == (name, detail)


def test_other_lines_are_no_milestones() -> None:
    assert recognise("Load pretrained config", 1.0) is None


def test_lines_of_each_communicator_count_once_and_others_each_time() -> None:
    lines = [
        (1.0, "NCCL version 2.28"),
        (2.0, "NCCL version 2.28"),
        (3.0, "Memory pool end. a"),
        (4.0, "Memory pool end."),
    ]
    assert [(one.name, one.at) for one in milestones(lines)] == [("nccl-version", 1), ("pool-end", 3), ("pool-end", 4)]


def test_the_start_ends_with_the_line_that_says_ready() -> None:
    lines = [(1.0, "Memory pool end."), (2.0, "The server is fired up and ready to roll!"), (3.0, "SIGQUIT received.")]
    assert [one.name for one in start(milestones(lines))] == ["pool-end", "ready"]
