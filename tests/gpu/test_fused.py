"""`bench kernels` on this host's GPU: all four implementations are right. Needs a GPU, PyTorch and Triton."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


@pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="needs a GPU on this host")
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp8_w8a8", "int8_w8a8", "int8_w8a16"])
def test_every_implementation_that_applies_is_right(dtype: str, tmp_path: Path) -> None:
    shape = ("--experts", "8", "--intermediate", "1024", "--hidden", "1024", "--top-k", "2", "--dtype", dtype)
    words = ("bench", "kernels", *shape, "--batch-size", "8", "256", "--save-path", str(tmp_path))
    subprocess.run([sys.executable, "build-and-deploy.py", *words], check=True)
    (told,) = (json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    applied = 4 if dtype in ("bf16", "fp16") else 2
    assert len(told["sizes"][0]["cells"]) == 4
    assert sum("seconds" in cell for cell in told["sizes"][0]["cells"].values()) == applied
