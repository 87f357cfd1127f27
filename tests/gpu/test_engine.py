"""The real SGLang on this host's GPUs does what the record says; needs four GPUs, the archive, a launch file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.engine_run import SGLANG

ARCHIVE = Path(".gpu-site/site.tar.xz")
LAUNCH = Path(os.environ.get("ENGINE_LAUNCH", "tests/gpu/launch.json"))
RECORD = Path(__file__).parent / "record" / f"{SGLANG}.json"

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]


def gpus() -> int:
    """How many GPUs this host has."""
    if not shutil.which("nvidia-smi"):
        return 0
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.count("GPU ")


def orders(record: dict[str, list[dict[str, list[dict[str, list[list[object]]]]]]]) -> list[list[list[object]]]:
    """Names of the milestones of every rank of every life."""
    return [[[m[0] for m in rank["milestones"]] for rank in life["ranks"]] for life in record["lives"]]


@pytest.mark.skipif(gpus() < 4, reason="needs four GPUs on this host")
def test_the_engine_does_what_the_record_says(tmp_path: Path) -> None:
    for needed in (ARCHIVE, LAUNCH, RECORD):
        assert needed.exists(), f"{needed} is missing: see tests/gpu/README.md"
    command = [sys.executable, "-m", "tests.gpu.engine_run", str(ARCHIVE), str(LAUNCH), str(tmp_path)]
    subprocess.run(command, check=True)
    seen = json.loads((tmp_path / RECORD.name).read_text())
    kept = json.loads(RECORD.read_text())
    assert orders(seen) == orders(kept)
    for now, then in zip(seen["lives"], kept["lives"], strict=True):
        assert now["paths"] == then["paths"]
        assert [bool(gone) for gone in now["exits"]] == [bool(gone) for gone in then["exits"]]
