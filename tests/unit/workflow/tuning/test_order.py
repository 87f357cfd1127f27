"""From options to what is measured: every mistake is found before anything starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import ConfigError
from deploy.kernels.gpu import GPUS
from deploy.kernels.setting import resolve
from deploy.kernels.shape import Shape
from deploy.kernels.table import Config
from deploy.tune.problem import Emulation
from deploy.workflow.tuning.order import Asked, Order, batch_sizes, candidates, order, split_as_sglang
from deploy.workflow.tuning.plan import plan_json, plan_text

NAMES = (
    *("gpu", "sglang", "triton", "model", "tp", "ep", "experts", "intermediate"),
    *("hidden", "top_k", "dtype", "block", "per_channel"),
)
BY_HAND = {"experts": 160, "intermediate": 384, "hidden": 5120, "top_k": 8}
EAGLE = {"speculative-algorithm": "EAGLE", "speculative-num-draft-tokens": 8, "max-running-requests": 64}


def asked(options: dict[str, Any], more: Asked | None = None, flags: dict[str, Any] | None = None) -> Order:
    given = {**dict.fromkeys(NAMES), "gpu": "GB10", **options}
    given["tp"] = split_as_sglang(given["ep"], given["tp"])
    return order(resolve(given, None, flags or {}), more or Asked(), flags or {})


def golden(root: Path, name: str) -> str:
    return str(root / "tests/golden/models" / f"{name}.json")


def test_glm_is_tuned_as_it_is_served() -> None:
    made = asked({"model": "zai-org/GLM-4.7-FP8", "tp": 4, "dtype": "fp8_w8a8"})
    assert made.problem.shape == Shape(160, 384, 5120, 8, "fp8_w8a8", None, per_channel=True)
    assert made.file("down").name == "E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8_down.json"
    assert not made.problem.filter_expert
    assert len(made.problem.candidates["up"]) == 364


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("qwen3-30b-a3b-fp8", {"tp": 2}, Shape(128, 384, 2048, 8, "fp8_w8a8", (128, 128))),
        ("qwen3-30b-a3b-fp8", {"tp": 2, "dtype": "fp8_w8a8"}, Shape(128, 384, 2048, 8, "fp8_w8a8", (128, 128))),
        ("qwen3-30b-a3b-fp8", {"tp": 2, "dtype": "bf16"}, Shape(128, 384, 2048, 8, "bf16")),
        ("qwen3-30b-a3b-fp8", {"ep": 4}, Shape(32, 768, 2048, 8, "fp8_w8a8", (128, 128))),
        ("qwen3-vl-235b", {"tp": 4}, Shape(128, 384, 4096, 8, "bf16")),
        ("llama-4-scout", {"tp": 4, "dtype": "auto"}, Shape(16, 2048, 5120, 1, "bf16")),
        ("mixtral-8x7b", {"tp": 2, "dtype": "int8_w8a16"}, Shape(8, 7168, 4096, 2, "int8_w8a16")),
        ("mixtral-8x7b", {"tp": 2, "dtype": "int8_w8a8"}, Shape(8, 7168, 4096, 2, "int8_w8a8", per_channel=True)),
        ("mixtral-8x7b", {"tp": 2, "dtype": "fp8_w8a8"}, Shape(8, 7168, 4096, 2, "fp8_w8a8")),
        (
            "mixtral-8x7b",
            {"tp": 2, "dtype": "fp8_w8a8", "per_channel": True},
            Shape(8, 7168, 4096, 2, "fp8_w8a8", per_channel=True),
        ),
    ],
)
def test_families_and_data_types(root: Path, name: str, options: dict[str, Any], shape: Shape) -> None:
    assert asked({"model": golden(root, name), **options}).problem.shape == shape


def test_expert_parallelism_filters_experts(root: Path) -> None:
    assert asked({"model": golden(root, "mixtral-8x7b"), "ep": 4}).problem.filter_expert
    flags = {"tp": 4, "ep-size": 2}
    served = asked({"model": golden(root, "mixtral-8x7b")}, flags=flags).problem
    assert (served.shape.experts, served.shape.intermediate, served.filter_expert) == (4, 7168, True)


def test_batch_sizes_are_sglang_s_and_those_of_the_settings() -> None:
    plain, eagle = asked(BY_HAND).sizes, asked(BY_HAND, flags=EAGLE).sizes
    assert {1, 16, 4096} <= set(plain)
    assert set(eagle) - set(plain)
    assert asked(BY_HAND, Asked(batch_sizes=(64, 1, 64))).sizes == (1, 64)


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ({}, Asked(), "no model is named"),
        ({"experts": 8}, Asked(), "needs --experts and --intermediate"),
        ({"experts": 8, "intermediate": 64}, Asked(), "needs --hidden and --top-k"),
        ({**BY_HAND, "top_k": 161}, Asked(), "cannot go to 161 of 160 experts"),
        ({**BY_HAND, "dtype": "fp7"}, Asked(), "--dtype fp7: is not known here"),
        ({**BY_HAND, "dtype": "fp32"}, Asked(), "--dtype fp32: its kernels cannot be timed"),
        ({**BY_HAND, "block": "128,100"}, Asked(), "is no multiple of 100"),
        ({**BY_HAND, "block": "128"}, Asked(), "is not N,K"),
        ({**BY_HAND, "block": "128,32"}, Asked(), "no configuration of SGLang's space can run the up GEMM"),
        ({**BY_HAND, "ep": 2, "tp": 2}, Asked(), "--tp-size 2 cannot cut them"),
        ({**BY_HAND, "gpu": "Voodoo"}, Asked(), "--gpu Voodoo: is not known here"),
        ({"model": "zai-org/GLM-4.7-FP8", "tp": 5}, Asked(), "1536 cannot be cut into 5 equal parts"),
        ({"model": "zai-org/GLM-4.7-FP8", "ep": 7}, Asked(), "160 experts on 7 ranks"),
        ({"model": "nobody/nothing"}, Asked(), "no config.json of it is on this machine"),
        (BY_HAND, Asked(skew=1.0, recorded="/ids"), "two answers to one question"),
        (BY_HAND, Asked(recorded="ids"), "--topk-ids-dir ids: is relative"),
        (BY_HAND, Asked(configs="/no/such.json"), "--configs /no/such.json: No such file"),
        (BY_HAND, Asked(configs="128 256 128 16 8 4"), "no configuration of --configs can run the up GEMM on GB10"),
        (BY_HAND, Asked(configs="100 256 128 16 8 4"), "BLOCK_SIZE_M: must be a power of two"),
    ],
)
def test_a_mistake_is_named(options: dict[str, Any], more: Asked, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(options, more)
    assert expected in caught.value.message
    assert caught.value.hint


def test_a_model_without_experts_is_told_apart_from_one_that_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096}))
    with pytest.raises(ConfigError, match="LlamaForCausalLM: this model has no experts"):
        asked({"model": str(file)})
    file.write_text(json.dumps({"architectures": ["OtherMoe"], "num_experts": 8}))
    with pytest.raises(ConfigError, match="OtherMoe is not known here"):
        asked({"model": str(file)})


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: is no JSON text"):
        asked({"model": str(tmp_path)})
    with pytest.raises(ConfigError, match="File name too long"):
        asked({"model": "x" * 5000})


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "65537", "1,,0"])
def test_a_batch_size_is_a_whole_number_of_tokens(text: str) -> None:
    with pytest.raises(ConfigError, match="is no batch size"):
        batch_sizes(text)


def test_candidates_come_as_a_list_a_table_or_six_numbers(tmp_path: Path) -> None:
    one, other = Config(16, 64, 128, 1, 4, 3), Config(32, 64, 128, 16, 4, 3)
    file = tmp_path / "some.json"
    file.write_text(json.dumps([one.as_json(), other.as_json(), one.as_json()]))
    assert candidates(str(file)) == (one, other)
    file.write_text(json.dumps({"1": one.as_json(), "64": other.as_json()}))
    assert candidates(str(file)) == (one, other)
    assert candidates("32 64 128 16 4 3") == candidates("32,64,128,16,4,3") == (other,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nonsense", "is no JSON"), ("[]", "has no entries"), ("3", "must be an object"), ("[1]", "1: must be an object")],
)
def test_a_file_without_candidates_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "some.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="--configs") as caught:
        candidates(str(file))
    assert expected in caught.value.message


def test_only_the_candidates_that_fit_are_tried(tmp_path: Path) -> None:
    made = asked(BY_HAND, Asked(configs="64 128 128 16 8 4"))
    found = plan_json(made, "here")
    assert (found["candidates"], found["of"]) == ({"up": 1, "down": 1}, 1)


def test_another_gpu_can_compile_for_the_one_of_the_table() -> None:
    assert asked(BY_HAND, Asked(emulate=True)).problem.emulation == Emulation("sm121", 101_376)
    assert asked(BY_HAND).problem.emulation is None
    h100 = asked({**BY_HAND, "gpu": "H100"}).problem
    assert h100.gpu == GPUS["H100"]


def test_each_problem_has_its_own_journal() -> None:
    journals = {
        str(one.journal)
        for one in (
            asked(BY_HAND),
            asked(BY_HAND, Asked(skew=1.0)),
            asked(BY_HAND, Asked(recorded="/ids")),
            asked(BY_HAND, Asked(emulate=True)),
            asked({**BY_HAND, "hidden": 4096}),
            asked({**BY_HAND, "triton": "3.5.1"}),
        )
    }
    assert len(journals) == 6
    assert asked(BY_HAND).journal == asked(BY_HAND, Asked(batch_sizes=(1,))).journal


def test_the_plan_says_what_would_be_done() -> None:
    made = replace(asked({"model": "zai-org/GLM-4.7-FP8", "tp": 4}), sizes=(1, 16))
    text = plan_text(made, "this machine's GPU")
    for word in ("E=160 N=384 K=5120 top-k 8 fp8_w8a8", "channels", "up 364, down 364 of 480 fit", "2: 1 16", "about"):
        assert word in text
    assert plan_json(made, "")["trials"] > 2 * 728
    assert "sm121 under 101,376 bytes" in plan_text(asked(BY_HAND, Asked(emulate=True)), "")
    assert "as recorded in /ids" in plan_text(asked(BY_HAND, Asked(recorded="/ids")), "")
