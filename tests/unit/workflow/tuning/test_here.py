"""This machine's GPU: which one it must be, and which kernel is timed on it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from deploy import store
from deploy.errors import TuneError
from deploy.kernels.gpu import GPUS
from deploy.tune.device import STAND_IN_TIMER
from deploy.tune.problem import Emulation
from deploy.workflow.tuning import here
from deploy.workflow.tuning.begin import see_that_it_is
from deploy.workflow.tuning.here import Here, source
from tests.operation import run
from tests.unit.workflow.tuning.test_run import PROBLEM


def test_a_table_is_made_on_the_gpu_that_it_is_for() -> None:
    see_that_it_is(PROBLEM, "NVIDIA GB10")
    see_that_it_is(replace(PROBLEM, gpu=GPUS["H100"]), "NVIDIA H100 80GB HBM3")
    with pytest.raises(TuneError, match="for GB10, and the GPU here is NVIDIA H100 80GB HBM3") as caught:
        see_that_it_is(PROBLEM, "NVIDIA H100 80GB HBM3")
    assert "--gpu 'H100'" in caught.value.hint
    assert "--emulate" in caught.value.hint
    see_that_it_is(replace(PROBLEM, emulation=Emulation("sm121", 101_376)), "NVIDIA H100 80GB HBM3")


def test_recorded_expert_ids_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAND_IN_TIMER, "any")
    with pytest.raises(TuneError, match="--topk-ids-dir /no/ids: is no folder here"):
        run(Here(replace(PROBLEM, recorded="/no/ids"), "0.5.4.post2").ready())


def test_without_pytorch_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(here, "source", lambda sglang: pytest.fail("fetched"))
    site = Here(PROBLEM, "0.5.4.post2")
    with pytest.raises(TuneError, match="PyTorch is not installed"):
        run(site.ready())
    site.close()


def test_the_kernel_of_that_version_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def of_wheel(sglang: str) -> bytes:
        asked.append(sglang)
        return b"the module"

    monkeypatch.setattr(store, "cache", lambda: tmp_path)
    monkeypatch.setattr(here, "of_wheel", of_wheel)
    assert source("0.5.6").read_bytes() == b"the module"
    assert source("0.5.6").name == "fused_moe_triton_kernels.py"
    assert asked == ["0.5.6"]


def test_an_installed_sglang_is_taken_where_it_is_that_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "srt/layers/moe/fused_moe_triton"
    home.mkdir(parents=True)
    (home / "fused_moe_triton_kernels.py").write_text("installed")
    found = ModuleSpec("sglang", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(here, "_version", lambda: "0.5.4.post2")
    monkeypatch.setattr(here, "of_wheel", lambda sglang: b"from PyPI")
    monkeypatch.setattr(store, "cache", lambda: tmp_path / "cache")
    assert source("0.5.4.post2").read_text() == "installed"
    assert source("0.5.4.post3").read_text() == "from PyPI"
