"""The calls of each backend as a counter of SGLang's metrics. Counts nothing itself: choice.py does."""

from typing import Any, Dict

from sglang.srt.adaptive_moe.choice import CALLS

NAME = "sglang:adaptive_moe_layer_calls_total"
MEANING = (
    "MoE layer calls by the backend that was chosen. Replays of CUDA graphs run no Python and are not counted, "
    "so this counts prefill, and decoding without a graph."
)


class AdaptiveMoeCalls:
    """Made where SGLang makes its other metrics; the counter exists once there was a call."""

    def __init__(self, labels: Dict[str, Any]) -> None:
        self.labels = labels
        self.counter: Any = None
        self.published = dict.fromkeys(CALLS, 0)

    def publish(self) -> None:
        """Add what was called since the last time."""
        for backend, calls in CALLS.items():
            new = calls - self.published[backend]
            if new:
                self._counter().labels(**self.labels, backend=backend).inc(new)
                self.published[backend] = calls

    def _counter(self) -> Any:
        if self.counter is None:
            # Only once SGLang has set PROMETHEUS_MULTIPROC_DIR.
            from prometheus_client import Counter

            self.counter = Counter(NAME, MEANING, labelnames=[*self.labels, "backend"])
        return self.counter
