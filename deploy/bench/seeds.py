"""Figures that others published, each with what is known to be wrong about it; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from deploy.bench.results import Scalar

MARK = "published elsewhere, not measured here"
_README = "“SGLang for DGX Spark (GB10) - GLM-4.7-FP8”, README, February 2026"
_CONFIGS = "“SGLang MoE Kernel Configs for DGX Spark (GB10)”, README, February 2026"
_RECORDS = "the benchmark records beside “SGLang for DGX Spark (GB10) - GLM-4.7-FP8”, February 2026"
_GUIDE = "“MoE Kernel Tuning Guide for DGX Spark (GB10)”, February 2026"
_ADAPTIVE = "“Adaptive MoE Kernel Selection”, undated"

_CHUNKS = (
    "Counts chunks of the stream as tokens. Under EAGLE a chunk carries several: the figure is then about 2.2 times "
    "too low."
)
_UNSAID = (
    "How tokens were counted is not said. The benchmarks of the same source count chunks of the stream, which under "
    "EAGLE is about 2.2 times too low."
)
_PREFIX = "One prompt was sent again and again, so the prefix cache answered: what is called cold was warm."
_GUESSED = "The length of the prompt was guessed from its characters; the server's own count was not read."
_EAGLE = (
    "Contradicts its own document: 20 to 27 tok/s are given for EAGLE and 16.77 without it. Where chunks were counted "
    "under EAGLE, 7.50 stands for about 16.5, which is no faster than without."
)
_KV = (
    "The KV column beside it (4.76 GB at 32K) fits neither a rank nor all four: by config.json (92 layers, 8 KV heads "
    "of 128, 16 bit) 32,768 tokens take 3.1 GB a rank and 12.3 GB on four."
)
_ALONE = "One number without repeats, spread, length of prompt and answer, or number of requests at once."
_LATENT = (
    "Said to run, but SGLang's default entry for more than 160 tokens needs 147,456 bytes of shared memory where a "
    "block may have 101,376: the first longer prefill ends it. The prompts must have been shorter."
)
_LOSS = "Given as -6.3 %. From 16.77 to 15.77 it is -6.0 %; 6.3 % is the gain the other way."
_CRASH = (
    "The crash is real, its explanation is not: a tile of 128 x 128 with four stages needs 98,304 bytes and fits. The "
    "default for more than 160 tokens does not, and EAGLE's graph capture reaches 512 (64 requests of 8 draft tokens)."
)
_CONTEXT = "The other document by the same hand starts the server with a context length of 32,768."
_COPIES = (
    "One of the two files is made by the tuner; the four that were published are the same bytes. The kernels were "
    "timed with one scale a tensor, while the model is served with one a channel."
)
_LAYOUTS = (
    "Another model (GPT-OSS-120B) on a machine that is not named. The two kernels want their weights in different "
    "layouts, so one server cannot switch between them as described, and neither path serves GLM-4.7-FP8."
)


@dataclass(frozen=True)
class Group:
    """Published figures of one kind, source and fault, as the report lists them."""

    figure: str
    source: str
    wrong: tuple[str, ...]
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Published:
    """One published figure, from `low` to `high`; both are None for a crash. Named as `bench run` names its own."""

    suite: str
    case: str
    figure: str
    unit: str
    low: float | None
    high: float | None
    source: str
    wrong: tuple[str, ...]
    parameters: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def value(self) -> str:
        """As text without its unit."""
        if self.low is None or self.high is None:
            return "crash"
        return f"{self.low:,g}" if self.low == self.high else f"{self.low:,g} to {self.high:,g}"


def published() -> tuple[Published, ...]:
    """All of them, in the order of the suites."""
    return (*_context(), *_tables(), *_other(), *_kernels())


def grouped(figures: Iterable[Published]) -> tuple[Group, ...]:
    """Those in a row that differ in case and value alone are one group."""
    found = []
    for (figure, source, wrong), ones in groupby(figures, key=lambda one: (one.figure, one.source, one.wrong)):
        values = tuple((one.case, f"{one.value} {one.unit}" if one.low is not None else one.value) for one in ones)
        found.append(Group(figure, source, wrong, values))
    return tuple(found)


def _context() -> tuple[Published, ...]:
    speeds = {512: 7.50, 4096: 7.41, 16384: 6.99, 32768: 6.54}
    wrong = (_CHUNKS, _EAGLE, _PREFIX, _GUESSED, _KV)
    decode = [
        _one("context", f"{tokens:,} tokens", ("decode_tok_s", "tok/s", speed), _README, wrong, tokens=tokens)
        for tokens, speed in speeds.items()
    ]
    impossible = f"{_PREFIX} 32,768 tokens in 0.199 s would be 165,000 tok/s of prefill on this machine."
    cold = _one(
        "context",
        "32,768 tokens, “cold”",
        ("ttft_s", "s", 0.199),
        _RECORDS,
        (impossible, _GUESSED),
        tokens=32768,
    )
    return (*decode, cold)


def _tables() -> tuple[Published, ...]:
    def speed(low: float, high: float, case: str, source: str, *wrong: str) -> Published:
        return Published("tables", case, "decode_tok_s", "tok/s", low, high, source, wrong)

    return (
        speed(16.77, 16.77, "A: tables, no EAGLE", _README, _ALONE),
        speed(15.77, 15.77, "B: no tables, no EAGLE", _README, _LOSS, _LATENT, _ALONE),
        Published("tables", "C: no tables, EAGLE", "decode_tok_s", "tok/s", None, None, _README, (_CRASH,)),
        speed(20, 27, "production: tables, EAGLE", _README, _UNSAID, _ALONE),
        speed(20, 27, "tables, EAGLE", _CONFIGS, _UNSAID, _ALONE),
    )


def _other() -> tuple[Published, ...]:
    unclear = "Neither the tool that said so nor the load is named."
    return (
        _one("-", "context window", ("context", "tokens", 202752), _CONFIGS, (_CONTEXT,)),
        _one("-", "weights of a node", ("memory", "GB", 82), _CONFIGS, ("Given as about; the tool is not named.",)),
        Published("-", "GPU utilization", "utilization", "%", 94, 95, _CONFIGS, (unclear,)),
        _one("-", "tuning GLM-4.7-FP8 on 4 nodes", ("total", "h", 9), _GUIDE, (_COPIES,)),
    )


def _kernels() -> tuple[Published, ...]:
    """Milliseconds a call by tokens in the batch: SGLang's own kernel, and triton_kernels."""
    own = (0.290, 0.355, 0.514, 0.736, 0.790, 1.200, 1.254, 1.365, 1.535, 2.043, 3.522)
    other = (1.504, 1.528, 1.522, 1.518, 1.514, 1.514, 1.517, 1.519, 1.515, 1.514, 1.905)
    return tuple(
        _one(
            "kernels", f"{name}, {8 << step} tokens", ("call_ms", "ms", value), _ADAPTIVE, (_LAYOUTS,), tokens=8 << step
        )
        for name, values in (("triton", own), ("triton_kernels", other))
        for step, value in enumerate(values)
    )


def _one(
    suite: str, case: str, seen: tuple[str, str, float], source: str, wrong: tuple[str, ...], **at: Scalar
) -> Published:
    """`seen`: figure, unit, value."""
    figure, unit, value = seen
    return Published(suite, case, figure, unit, value, value, source, wrong, at)
