"""`tune compare`: what its exit code says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli.tune import compare
from deploy.errors import TuneError

TABLE = "configs/triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8.json"


def test_a_batch_size_that_was_not_compared_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(*_: Any) -> Iterator[Any]:
        yield from ()
        return {}

    monkeypatch.setattr("deploy.workflow.tuning.compare.compared", compared)
    monkeypatch.chdir(root)
    words = [TABLE, "default", "--local", "--batch-size", "16", "-q"]
    found = CliRunner().invoke(compare, words).exception
    assert isinstance(found, TuneError)
    assert "16 tokens were not compared" in found.message
