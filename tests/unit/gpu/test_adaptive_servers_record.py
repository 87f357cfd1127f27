"""What whole servers with the patch set adaptive-moe showed on a real GPU, beside servers of one backend alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.adaptive_said import apart

THRESHOLD, LAYERS, STEPS = 32, 2, 10
MODELS = ("mixtral", "qwen3-moe", "gpt-oss")
Servers = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture
def servers(root: Path) -> Servers:
    record = json.loads((root / "tests/gpu/record/adaptive_servers.json").read_text())
    assert ("H100" in record["gpu"], record["threshold"]) == (True, THRESHOLD)
    return {(one["model"], one["server"]): one for one in record["servers"]}


def test_of_each_model_all_three_answered(servers: Servers) -> None:
    for model in MODELS:
        assert all(servers[model, name]["answers"] for name in ("triton", "triton_kernels", "adaptive"))


@pytest.mark.parametrize("model", MODELS)
def test_prompts_of_fewer_tokens_than_the_threshold_are_tritons_bit_for_bit(servers: Servers, model: str) -> None:
    ours, alone = servers[model, "adaptive"]["answers"], servers[model, "triton"]["answers"]
    below = [tokens for tokens in ours if int(tokens) < THRESHOLD]
    assert below == ["5", "20", "31"]
    assert all(ours[tokens] == alone[tokens] for tokens in below)


@pytest.mark.parametrize("model", MODELS)
def test_longer_prompts_are_triton_kernels_bit_for_bit(servers: Servers, model: str) -> None:
    ours, alone = servers[model, "adaptive"]["answers"], servers[model, "triton_kernels"]["answers"]
    above = [tokens for tokens in ours if int(tokens) >= THRESHOLD]
    assert above == ["32", "40", "100", "300"]
    for tokens in above:
        # What is generated after it one by one is decoded by triton again.
        prompt = int(tokens) - 1
        assert ours[tokens][:prompt] == alone[tokens][:prompt]
    assert 0 < apart({"31": servers[model, "triton"]["answers"]["31"]}, {"31": alone["31"]})["mean"] < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_the_metrics_count_each_batch_by_its_backend(servers: Servers, model: str) -> None:
    """Seven prompts of one batch each, three below the threshold, and two small ones that publish them."""
    assert servers[model, "adaptive"]["calls"] == {"triton": LAYERS * 5, "triton_kernels": LAYERS * 4}
    assert servers[model, "triton"].get("calls", {}) == {}


@pytest.mark.parametrize("model", MODELS)
def test_a_captured_batch_size_replays_what_its_threshold_chose(servers: Servers, model: str) -> None:
    gemms = 2 * LAYERS * STEPS
    small, large = {"triton": gemms, "triton_kernels": 0}, {"triton": 0, "triton_kernels": gemms}
    assert servers[model, "adaptive"]["kernels"] == {"1": small, "4": small, "16": small, "48": large}
    assert servers[model, "adaptive"]["log"][:2]


def test_auto_found_a_threshold_for_graphs_and_none_for_eager_calls(servers: Servers) -> None:
    """The servers shared one GPU and its host, so these thresholds are of that moment alone."""
    one = servers["mixtral", "auto"]
    assert any(line.endswith("thresholds never, in graphs 512") for line in one["log"])
    assert one["calls"] == {"triton": LAYERS * 9}


@pytest.mark.parametrize(
    ("model", "name", "why"),
    [
        ("glm", "glm-4.7", "cannot serve this routing: grouped top-k; a correction bias"),
        ("mixtral", "fp8", "cannot serve these flags: --quantization fp8"),
        ("mixtral", "ep", "cannot serve these flags: expert parallelism (--ep-size 2)"),
    ],
)
def test_what_it_cannot_serve_ends_at_start_and_says_why(servers: Servers, model: str, name: str, why: str) -> None:
    one = servers[model, name]
    assert (one["refused"], one["state"]) == (True, "gone")
    assert why in one["log"][-1]
    assert one["log"][-1].endswith("Start without --enable-adaptive-moe.")
