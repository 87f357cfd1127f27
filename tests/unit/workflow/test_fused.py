"""`bench kernels` without a GPU: what is asked of one, in which order, and what becomes of the answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import ConfigError, TuneError
from deploy.event import Note
from deploy.kernels.finding import Target
from deploy.kernels.models import Split
from deploy.kernels.setting import Setting
from deploy.kernels.shape import Shape
from deploy.tune.fused.device import failure, fatal
from deploy.tune.fused.result import Results
from deploy.workflow import fused

BF16, FP8 = Shape(8, 1024, 1024, 2, "bf16"), Shape(8, 1024, 1024, 2)
FACTS = {"device": "a stand-in", "operators": "none", "memory": 80 * 10**9}


@dataclass
class StandIn:
    """Answers by formula: SGLang takes as many microseconds as tokens, the others a constant each."""

    answers: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def check(self, name: str, tokens: int) -> dict[str, Any]:
        self.asked.append(("check", name, tokens))
        return self.answers.get((name, tokens), {"error": 0.003, "table": ""})

    def time(self, name: str, tokens: int, replays: int) -> dict[str, Any]:
        self.asked.append(("time", name, tokens))
        micro = tokens if name == "sglang" else 100
        return self.answers.get((f"time {name}", tokens), {"seconds": [micro * 1e-6] * replays})


def order(into: Path, shape: Shape = BF16, *names: str, sizes: tuple[int, ...] = (8, 64, 512)) -> fused.Order:
    return fused.order(Setting(Target(), shape, "by hand"), names, sizes, into)


def ran(order: fused.Order, device: StandIn) -> tuple[Results, list[str]]:
    events = fused.contest(order, device, FACTS)
    said: list[str] = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value, said
        said += [event.text] if isinstance(event, Note) and event.level == "warning" else []


def test_all_are_checked_before_one_is_timed_and_who_begins_goes_round(tmp_path: Path) -> None:
    device = StandIn()
    ran(order(tmp_path, BF16, "sglang", "vllm", sizes=(8,)), device)
    assert [one[:2] for one in device.asked[:2]] == [("check", "sglang"), ("check", "vllm")]
    turns = [name for what, name, _ in device.asked[2:] if what == "time"]
    assert turns[2:6] == ["sglang", "vllm", "vllm", "sglang"]
    assert turns.count("sglang") == turns.count("vllm") == fused.ROUNDS + 1


def test_the_first_round_does_not_count(tmp_path: Path) -> None:
    class Waking(StandIn):
        def time(self, name: str, tokens: int, replays: int) -> dict[str, Any]:
            first = ("time", name, tokens) not in self.asked
            found = super().time(name, tokens, replays)
            return {"seconds": [1.0] * replays} if first else found

    found, _ = ran(order(tmp_path, BF16, "sglang", "vllm", sizes=(8,)), Waking())
    assert found.cells[8]["sglang"].rounds == (8e-6,) * fused.ROUNDS


def test_figures_and_the_crossing_come_out(tmp_path: Path) -> None:
    found, said = ran(order(tmp_path), StandIn())
    assert found.fastest(8) == ("sglang", True)
    assert found.fastest(512)[0] != "sglang"
    assert not said
    told = json.loads((tmp_path / "E8-N1024-K1024-top2-bf16.json").read_text())
    assert {one["second"] for one in told["crossings"]} == {"vllm", "triton_kernels", "torch_compile"}
    assert (tmp_path / "E8-N1024-K1024-top2-bf16.csv").is_file()
    assert (tmp_path / "E8-N1024-K1024-top2-bf16.svg").is_file()


def test_one_that_is_wrong_is_never_timed_nor_asked_again(tmp_path: Path) -> None:
    device = StandIn({("vllm", 64): {"error": 0.4, "table": ""}})
    found, said = ran(order(tmp_path), device)
    assert [tokens for what, name, tokens in device.asked if (what, name) == ("check", "vllm")] == [8, 64]
    assert ("time", "vllm", 64) not in device.asked
    assert "wrong: its error against float32 is 40.00% at 64 tokens" in said[0]
    assert found.cells[8]["vllm"].rounds
    assert found.cells[512]["vllm"].failed
    with pytest.raises(TuneError, match=r"vLLM was dropped at 64 tokens: wrong.*and 1 more"):
        fused.judge(found)


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 0.0200001])
def test_no_number_and_a_bit_too_much_are_wrong_too(tmp_path: Path, error: float) -> None:
    found, _ = ran(order(tmp_path, sizes=(8,)), StandIn({("vllm", 8): {"error": error, "table": ""}}))
    assert found.cells[8]["vllm"].failed


def test_one_that_fails_at_a_size_is_asked_at_the_next(tmp_path: Path) -> None:
    found, _ = ran(order(tmp_path), StandIn({("vllm", 8): {"failed": "OutOfMemoryError: CUDA out of memory"}}))
    assert found.cells[8]["vllm"].failed.startswith("OutOfMemoryError")
    assert found.cells[64]["vllm"].rounds


def test_one_that_ends_the_process_is_asked_no_more(tmp_path: Path) -> None:
    device = StandIn({("time vllm", 8): {"error": "the process ended with -11: "}})
    found, _ = ran(order(tmp_path), device)
    assert not [one for one in device.asked if one[1] == "vllm" and one[2] > 8]
    assert not found.cells[8]["vllm"].rounds
    assert found.cells[8]["sglang"].rounds


def test_what_does_not_apply_is_not_asked_and_is_no_failure(tmp_path: Path) -> None:
    device = StandIn()
    found, said = ran(order(tmp_path, FP8), device)
    assert {name for _, name, _ in device.asked} == {"sglang", "vllm"}
    assert not said
    fused.judge(found)


def test_weights_that_do_not_fit_are_refused_first(tmp_path: Path) -> None:
    device = StandIn()
    with pytest.raises(TuneError, match=r"weights are \d+\.\d GB, and the GPU has 80\.0 GB"):
        ran(order(tmp_path, Shape(256, 8192, 8192, 8, "bf16")), device)
    assert not device.asked


def test_unknown_names_types_and_impossible_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--implementations llama"):
        order(tmp_path, BF16, "llama")
    with pytest.raises(ConfigError, match="none of triton_kernels has fp8_w8a8"):
        order(tmp_path, FP8, "triton_kernels")
    with pytest.raises(ConfigError, match="int4_w4a16"):
        order(tmp_path, Shape(8, 1024, 1024, 2, "int4_w4a16"))
    with pytest.raises(ConfigError, match="2 of 1 experts"):
        order(tmp_path, Shape(1, 1024, 1024, 2, "bf16"))


def test_under_expert_parallelism_foreign_experts_are_filtered(tmp_path: Path) -> None:
    ep = fused.order(Setting(Target(), BF16, split=Split(2, 2)), (), (), tmp_path)
    assert ep.problem.filter_expert
    assert ep.sizes == fused.SIZES
    assert not order(tmp_path).problem.filter_expert


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TuneError, match="file/folder"):
        ran(order(tmp_path / "file" / "folder"), StandIn())


def test_an_error_of_a_check_is_a_number_and_of_a_process_a_text() -> None:
    assert not failure({"error": 0.5, "table": ""})
    assert failure({"failed": "why"}) == "why"
    assert fatal({"error": "no answer in 5 s"})
    assert failure({"fault": "CUDA error"}) == "CUDA error"
    assert not fatal({"failed": "why"})
