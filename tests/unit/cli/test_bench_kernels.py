"""`bench kernels` as SGLang's users write it, and what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli.bench import bench
from deploy.errors import ConfigError, TuneError
from deploy.workflow import fused

MIXTRAL = {
    "architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_local_experts": 8,
    "num_experts_per_tok": 2, "torch_dtype": "bfloat16",
}  # fmt: skip
DENSE = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4096}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster.yaml here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixtral.json").write_text(json.dumps(MIXTRAL))
    (tmp_path / "dense.json").write_text(json.dumps(DENSE))


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> fused.Order:
    """What would be measured."""
    seen: list[Any] = []

    def measured(order: fused.Order) -> Any:
        seen.append(order)
        raise TuneError("no GPU in this test")
        yield

    monkeypatch.setattr(fused, "measured", measured)
    CliRunner().invoke(bench, ["kernels", "--model", "mixtral.json", *words])
    return seen[0]  # type: ignore[no-any-return]


def refused(*words: str) -> Exception:
    found = CliRunner().invoke(bench, ["kernels", *words])
    assert found.exception is not None
    assert not list(Path().glob("configs"))
    return found.exception  # type: ignore[return-value]


def test_the_words_of_sglangs_tools_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, "--tp-size", "2", "--use-fp8-w8a8", "--batch-size", "8", "64", "--use-cuda-graph")
    assert (found.problem.shape.intermediate, found.problem.shape.dtype) == (7168, "fp8_w8a8")
    assert found.sizes == (8, 64)
    assert found.into == Path("configs/benchmark_ops/vllm_sglang_fused_moe")
    assert found.names == ("sglang", "vllm", "triton_kernels", "torch_compile")


def test_experts_are_shared_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, "--tp-size", "1", "--ep-size", "2", "--dtype", "fp16", "--save-path", "out")
    assert (found.problem.shape.experts, found.problem.shape.intermediate) == (4, 14336)
    assert (found.problem.filter_expert, found.problem.shape.dtype, found.into) == (True, "fp16", Path("out"))


def test_implementations_are_named_in_either_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "--implementations", "torch-compile,sglang").names == ("torch_compile", "sglang")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model mixtral.json --tp-size 2 --ep-size 2", "cannot cut them"),
        ("--model mixtral.json --ep-size 3", "cannot be shared out 3 ways"),
        ("--model mixtral.json --tp-size 3", "cannot be cut into 3 equal parts"),
        ("--model dense.json", "has no experts"),
        ("--model nowhere.json", "no config.json"),
        ("--model mixtral.json --dtype fp7", "--dtype fp7"),
        ("--model mixtral.json --dtype fp16 --use-fp8-w8a8", "two answers"),
        ("--model mixtral.json --routing-skew 1 --topk-ids-dir x", "two answers"),
        ("--model mixtral.json --batch-size 0", "no batch size"),
        ("--model mixtral.json --implementations sglang,tgi", "--implementations tgi"),
        ("--model mixtral.json --dtype int8_w8a8 --implementations torch_compile", "none of torch_compile"),
        ("", "no model is named"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_reason(words: str, said: str) -> None:
    error = refused(*words.split())
    assert isinstance(error, ConfigError), error
    assert said in error.message
    assert error.hint


def test_kernels_check_takes_no_results_for_tables(tmp_path: Path) -> None:
    from deploy.kernels.files import table_files

    results = tmp_path / "configs/benchmark_ops/vllm_sglang_fused_moe"
    results.mkdir(parents=True)
    (results / "E8-N1024-K1024-top2-bf16.json").write_text("{}")
    assert table_files([tmp_path / "configs"]) == ()


def test_without_pytorch_it_says_where_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy.tune.fused import sources

    monkeypatch.setattr(sources, "_version", lambda _: "")
    error = refused("--model", "mixtral.json")
    assert isinstance(error, TuneError)
    assert "torch is not installed" in error.message
