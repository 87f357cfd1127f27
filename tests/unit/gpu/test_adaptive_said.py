"""What is read from a server with the patch set adaptive-moe."""

from __future__ import annotations

import gzip
import json

from tests.gpu import adaptive_said as said

METRICS = """\
# TYPE sglang:adaptive_moe_layer_calls_total counter
sglang:adaptive_moe_layer_calls_total{backend="triton",model_name="m",tp_rank="0"} 14.0
sglang:adaptive_moe_layer_calls_total{backend="triton_kernels",model_name="m",tp_rank="0"} 4.0
sglang:num_running_reqs{model_name="m"} 1.0
"""


def test_the_counter_is_read_by_backend() -> None:
    assert said.counted(METRICS) == {"triton": 14, "triton_kernels": 4}
    assert said.more({"triton": 4}, said.counted(METRICS)) == {"triton": 10, "triton_kernels": 4}
    assert said.more({"triton": 14}, {"triton": 14}) == {}


def test_log_probabilities_are_of_the_prompt_but_its_first_token_and_of_the_answer() -> None:
    answer = {"input_token_logprobs": [[None, 5, None], [-1.0, 6, None]], "output_token_logprobs": [[-2.0, 7, None]]}
    assert said.logprobs({"meta_info": answer}) == [-1.0, -2.0]


def test_two_servers_are_compared_over_the_prompts_alone() -> None:
    one, other = {"3": [-1.0, -2.0, -9.0]}, {"3": [-1.5, -2.0, -1.0]}
    assert said.apart(one, other) == {"mean": 0.25, "most": 0.5}


def test_kernels_of_a_trace_are_counted_by_backend() -> None:
    names = ["fused_moe_kernel", "fused_moe_kernel", "_p_matmul_ogs_NNT_bf16", "rmsnorm"]
    events = [{"cat": "kernel", "name": name} for name in names] + [{"cat": "cpu_op", "name": "fused_moe_kernel"}]
    trace = gzip.compress(json.dumps({"traceEvents": events}).encode())
    assert said.moe_kernels(trace) == {"triton": 2, "triton_kernels": 1}


def test_of_a_log_the_own_lines_and_the_error_count_else_its_end() -> None:
    own = ["[now] Adaptive MoE (8, 64): 5 tokens", "ValueError: no"]
    assert said.of_interest(["x", "server_args=ServerArgs(enable_adaptive_moe=True)", *own]) == own
    assert said.of_interest(["a", "b"]) == ["a", "b"]
