from __future__ import annotations

import pytest

from deploy.bench.fit import Roofline, fitted


def test_a_line_is_found_with_the_share_of_the_bandwidth_that_it_means() -> None:
    roofline = Roofline(weights=8e9, token=1e5, bandwidth=2e11)
    points = {
        float(tokens): [roofline.seconds(tokens) / 0.8 * (1 + noise) for noise in (-0.01, 0, 0.01)]
        for tokens in (512, 4096, 32768, 131072)
    }
    found = fitted(points, 1, roofline)
    assert found["step_at_zero_s"].median == pytest.approx(0.05)
    assert found["step_per_1k_tokens_s"].median == pytest.approx(1000 * 1e5 / 2e11 / 0.8)
    efficiency = found["bandwidth_efficiency"]
    assert efficiency.median == pytest.approx(0.8)
    assert 0.78 < efficiency.low < 0.8 < efficiency.high < 0.82
    assert fitted(points, 1, roofline) == found


def test_one_length_makes_no_line() -> None:
    assert fitted({512.0: [0.1, 0.2]}, 1) == {}
