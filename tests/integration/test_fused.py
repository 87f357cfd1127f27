"""The process that runs implementations beside the GPU, on a machine that has none."""

from __future__ import annotations

from contextlib import closing

import pytest

from deploy.errors import TuneError
from deploy.kernels.gpu import GB10
from deploy.kernels.shape import Shape
from deploy.tune.fused.device import Device, failure, fatal
from deploy.tune.problem import Problem

pytestmark = pytest.mark.integration


def test_a_machine_that_cannot_run_a_layer_says_why_and_leaves_no_process() -> None:
    with closing(Device(Problem(Shape(8, 128, 256, 2, "bf16"), GB10))) as device:
        with pytest.raises(TuneError, match=r"no layer can be run here: .*(torch|NVIDIA|CUDA)"):
            device.facts()
        assert device._worker is None
        again = device.check("sglang", 8)
        assert fatal(again)
        assert failure(again)
