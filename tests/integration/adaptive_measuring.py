"""The measured threshold, its cache, and the counter in a real, patched SGLang tree."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.integration.adaptive_parts import (
    THRESHOLD,
    asked,
    kept_in,
    rows,
    settled,
)


def the_profile_takes_the_threshold_that_loses_least() -> None:
    from sglang.srt.adaptive_moe.choice import NEVER
    from sglang.srt.adaptive_moe.profile import least_regret

    assert least_regret(rows((8, 1, 2), (64, 2, 2.5), (512, 5, 3), (4096, 9, 4))) == 512
    assert least_regret(rows((8, 1, 2), (64, 2, 3))) == NEVER
    assert least_regret(rows((8, 2, 1), (64, 3, 2))) == 1
    # Where no threshold is right everywhere, the greatest loss counts: 10 % here against 50 %.
    assert least_regret(rows((8, 1.1, 1), (64, 2, 3), (512, 5, 3))) == 512


TIMES = {"eager": rows((8, 1, 2), (256, 3, 2)), "graph": rows((8, 1, 2), (32, 3, 2), (256, 3, 2))}
OLD = {"times": rows((8, 1, 2), (256, 3, 2))}
"""As files were before there were times of graphs."""


def both_thresholds_are_measured_once_kept_and_measured_anew_where_they_cannot_be_read() -> None:
    from sglang.srt.adaptive_moe import cache, profile

    measured = mock.Mock(return_value=TIMES)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(profile, "measured", measured), kept_in(folder):
        for calls, damage in ((1, None), (1, None), (2, "{"), (3, '{"key": 1}'), (4, OLD), (5, {"times": {}})):
            for file in Path(folder).iterdir() if damage else ():
                key = json.loads(file.read_text())["key"] if isinstance(damage, dict) else None
                file.write_text(json.dumps({"key": key, **damage}) if isinstance(damage, dict) else damage or "")
            assert settled() == (256, 32)
            assert measured.call_count == calls, damage
        assert [file.suffix for file in Path(folder).iterdir()] == [".json"]
        with mock.patch.object(cache, "_version", lambda name: f"{name} of tomorrow"):
            settled()
        assert measured.call_count == 6


def a_cache_that_cannot_be_written_costs_a_warning() -> None:
    from sglang.srt.adaptive_moe import profile

    times = {"eager": rows((8, 2, 1)), "graph": rows((8, 2, 1))}
    with kept_in("/proc/nowhere"), mock.patch.object(profile, "measured", return_value=times):
        assert settled() == (1, 1)


def the_ranks_of_a_gang_take_what_the_first_one_found() -> None:
    import sglang.srt.distributed as module  # type: ignore[import-not-found]
    from sglang.srt.adaptive_moe import profile

    told: list[Any] = []

    def broadcast(found: Any, src: int) -> Any:
        told.append((found, src))
        return (77, 78) if found is None else found

    measured = mock.Mock(return_value=TIMES)
    for rank, thresholds in ((0, (256, 32)), (1, (77, 78))):
        group = SimpleNamespace(rank_in_group=rank, world_size=2, broadcast_object=broadcast)
        with (
            tempfile.TemporaryDirectory() as folder,
            kept_in(folder),
            mock.patch.object(module, "get_tp_group", lambda group=group: group),
            mock.patch.object(profile, "measured", measured),
        ):
            assert settled() == thresholds
    assert told == [((256, 32), 0), (None, 0)]
    assert measured.call_count == 1


def the_calls_are_a_counter_of_sglangs_metrics() -> None:
    from prometheus_client import REGISTRY
    from sglang.srt.adaptive_moe.counts import AdaptiveMoeCalls

    name, labels = "sglang:adaptive_moe_layer_calls_total", {"model_name": "m"}
    with asked(THRESHOLD) as choice:
        counter = AdaptiveMoeCalls(labels)
        counter.publish()
        assert counter.counter is None
        for calls in (3, 5):
            choice.CALLS["triton_kernels"] = calls
            counter.publish()
            counter.publish()
            assert REGISTRY.get_sample_value(name, {**labels, "backend": "triton_kernels"}) == calls
    source = Path(sys.modules["sglang.srt.adaptive_moe.counts"].__file__ or "").parents[1] / "metrics" / "collector.py"
    assert source.read_text().count("self.adaptive_moe_calls") == 2


CHECKS = (
    the_profile_takes_the_threshold_that_loses_least,
    both_thresholds_are_measured_once_kept_and_measured_anew_where_they_cannot_be_read,
    a_cache_that_cannot_be_written_costs_a_warning,
    the_ranks_of_a_gang_take_what_the_first_one_found,
    the_calls_are_a_counter_of_sglangs_metrics,
)
