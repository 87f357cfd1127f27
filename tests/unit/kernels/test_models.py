"""From config.json to shape and name, for each family; what is unknown is named, with what to pass by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.kernels import hub
from deploy.kernels.models import ModelError, Split, model
from deploy.kernels.name import table_name
from deploy.kernels.quantization import Quantization, quantization
from deploy.kernels.rules import rules
from deploy.kernels.shape import Shape

OLD, NEW = rules("0.5.4.post2"), rules("0.5.6")
FP8_BLOCK = ",dtype=fp8_w8a8,block_shape=[128, 128]"


def recorded(root: Path, name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((root / "tests/golden/models" / f"{name}.json").read_text())
    return config


@pytest.mark.parametrize(
    ("name", "tp", "shape", "end"),
    [
        ("mixtral-8x7b", 2, (8, 7168, 4096, 2), ""),
        ("qwen2-moe", 4, (64, 640, 3584, 8), ""),
        ("qwen3-30b-a3b-fp8", 2, (128, 384, 2048, 8), FP8_BLOCK),
        ("qwen3-vl-235b", 4, (128, 384, 4096, 8), ""),
        ("qwen3-next-80b", 4, (512, 128, 2048, 10), ""),
        ("deepseek-v2", 8, (160, 192, 5120, 6), ""),
        ("deepseek-v3", 8, (257, 256, 7168, 9), FP8_BLOCK),
        ("deepseek-r1", 16, (257, 128, 7168, 9), FP8_BLOCK),
        ("llama-4-scout", 4, (16, 2048, 5120, 1), ""),
        ("dbrx", 4, (16, 2688, 6144, 4), ""),
        ("jamba-mini", 2, (16, 7168, 4096, 2), ""),
        ("grok-1", 8, (8, 4096, 6144, 2), ""),
        ("ling-lite", 1, (64, 1408, 2048, 6), ""),
        ("gpt-oss-120b", 4, (128, 720, 2880, 4), ""),
        ("glm-4.5-air", 4, (128, 352, 4096, 8), ""),
    ],
)
def test_a_family_has_its_shape_and_name(
    root: Path, name: str, tp: int, shape: tuple[int, int, int, int], end: str
) -> None:
    found = model(recorded(root, name)).shape(Split(tp), OLD)
    assert (found.experts, found.intermediate, found.hidden, found.top_k) == shape
    assert str(table_name(found, "NVIDIA_H200", OLD)) == f"E={shape[0]},N={shape[1]},device_name=NVIDIA_H200{end}.json"


def test_glm_4_7_fuses_its_shared_expert_from_0_5_6_on() -> None:
    glm = model(hub.config("zai-org/GLM-4.7-FP8")[0])
    assert glm.shape(Split(4), OLD) == Shape(160, 384, 5120, 8, "fp8_w8a8", None, True)
    assert glm.shape(Split(4), NEW) == Shape(161, 384, 5120, 9, "fp8_w8a8", None, True)
    assert glm.shape(Split(4, fuse_shared=False), NEW).experts == 160


def test_expert_parallelism_shares_out_whole_experts_and_fuses_none(root: Path) -> None:
    deepseek = model(recorded(root, "deepseek-v3"))
    assert deepseek.shape(Split(8, 8), OLD) == Shape(32, 2048, 7168, 8, "fp8_w8a8", (128, 128))
    assert deepseek.shape(Split(8, 2), OLD).intermediate == 512


def test_only_the_v3_with_256_experts_fuses(root: Path) -> None:
    config = recorded(root, "deepseek-v3") | {"n_routed_experts": 384}
    assert model(config).shape(Split(8), OLD).experts == 384
    assert model(recorded(root, "deepseek-v2")).shape(Split(8), NEW).experts == 160


@pytest.mark.parametrize(
    ("change", "split", "words"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, Split(), "the architecture LlamaForCausalLM is not known"),
        ({"architectures": []}, Split(), "names no architecture"),
        ({"architectures": None}, Split(), "names no architecture"),
        ({"num_local_experts": None}, Split(), "MixtralForCausalLM: the configuration has no num_local_experts"),
        ({"num_local_experts": True}, Split(), "has no num_local_experts"),
        ({"hidden_size": "4096"}, Split(), "has no hidden_size"),
        ({"quantization_config": {"quant_method": "awq"}}, Split(), "awq quantization"),
        ({}, Split(3), "14336 cannot be cut into 3 equal parts"),
        ({}, Split(8, 3), "cannot be shared out 3 ways"),
    ],
)
def test_what_is_unknown_is_named_with_a_way_out(root: Path, change: dict[str, Any], split: Split, words: str) -> None:
    with pytest.raises(ModelError, match=words.replace("(", r"\(")) as caught:
        model(recorded(root, "mixtral-8x7b") | change).shape(split, OLD)
    assert "--" in caught.value.hint


def test_a_larger_configuration_without_its_text_part_is_named(root: Path) -> None:
    config = recorded(root, "qwen3-vl-235b")
    del config["text_config"]
    with pytest.raises(ModelError, match="has no text_config"):
        model(config)


def compressed(kind: str, bits: int, strategy: str, inputs: object = "token") -> dict[str, Any]:
    weights = {"type": kind, "num_bits": bits, "strategy": strategy, "block_structure": [128, 128]}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"g": {"weights": weights, "input_activations": inputs}},
    }


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, Quantization("bf16")),
        ({"quant_method": "fp8"}, Quantization("fp8_w8a8")),
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, Quantization("fp8_w8a8", (128, 64))),
        (compressed("float", 8, "channel"), Quantization("fp8_w8a8", per_channel=True)),
        (compressed("float", 8, "tensor"), Quantization("fp8_w8a8")),
        (compressed("float", 8, "block"), Quantization("fp8_w8a8", (128, 128))),
        (compressed("int", 8, "channel"), Quantization("int8_w8a8", per_channel=True)),
        ({"quant_method": "w8a8_int8"}, Quantization("int8_w8a8", per_channel=True)),
        ({"quant_method": "w8a8_fp8"}, Quantization("fp8_w8a8", per_channel=True)),
    ],
)
def test_a_quantisation_decides_the_data_type_of_the_table(config: Any, found: Quantization) -> None:
    assert quantization(config, "bfloat16") == found


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "gptq"},
        {"bits": 4},
        compressed("int", 4, "group", None),
        compressed("float", 8, "channel", None),
        {"quant_method": "compressed-tensors"},
        {"quant_method": "fp8", "weight_block_size": [128]},
        "fp8",
    ],
)
def test_a_quantisation_without_a_table_is_refused(config: Any) -> None:
    with pytest.raises(ValueError, match=r"table|weights|block"):
        quantization(config, "bfloat16")


def test_a_model_is_found_as_a_file_a_folder_and_in_the_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / "tests/golden/models/dbrx.json").read_text()
    snapshot = tmp_path / "hub/models--org--dbrx/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(text)
    refs = tmp_path / "hub/models--org--dbrx/refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    for name in (str(snapshot / "config.json"), str(snapshot), str(tmp_path / "hub/models--org--dbrx"), "org/dbrx"):
        assert hub.config(name)[0] == json.loads(text), name
    assert hub.config("org/dbrx", "abc")[0] == json.loads(text)
    with pytest.raises(ModelError, match="is on this machine"):
        hub.config("org/dbrx", "other")


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        hub.config(str(tmp_path))


def test_a_name_that_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        hub.config("org/model")
    assert "hf download org/model config.json" in caught.value.hint
