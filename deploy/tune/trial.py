"""What is asked of a GPU and what it answers: values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from deploy.kernels.table import Config

GemmName = Literal["up", "down"]


@dataclass(frozen=True)
class Trial:
    """One measurement: a configuration for one GEMM at a batch size in tokens.

    `stage` and `round` tell repeated measurements of a configuration apart. `replays` is how many figures are wanted;
    with 0 the result's correctness is looked at, and nothing is timed.
    """

    tokens: int
    gemm: GemmName
    config: Config
    stage: str
    round: int = 0
    replays: int = 1


@dataclass(frozen=True)
class Batch:
    """Trials that may be compiled together, then made in this order.

    `hopeless`: a first call that takes this many times as long as the GEMM's best so far ends its trial; 0 for none.
    `enough`: once a pair of GEMMs with one BLOCK_SIZE_M takes no more seconds, the rest is not made; 0 for none.
    """

    trials: tuple[Trial, ...]
    hopeless: float = 0.0
    enough: float = 0.0


@dataclass(frozen=True)
class Timing:
    """What came of a trial: seconds a call, one figure a replay; `gpu` is how long the GPU was at work for it.

    `slow`: it was given up after a hopeless first call, which took `first` seconds. `error`: the greatest difference to
    float32 arithmetic over the greatest value. `failed`: why it could not be measured, such as Triton's refusal. With
    nothing set it was not made, since there was enough.
    """

    seconds: tuple[float, ...] = ()
    gpu: float = 0.0
    slow: bool = False
    first: float = 0.0
    error: float | None = None
    failed: str = ""

    @property
    def median(self) -> float:
        """Seconds a call; infinite where there is no figure."""
        return median(self.seconds) if self.seconds else float("inf")


def trial_json(trial: Trial) -> dict[str, Any]:
    return asdict(trial)


def trial_of(fields: Mapping[str, Any]) -> Trial:
    """The inverse of `trial_json`."""
    return Trial(**{**fields, "config": config_of(fields["config"])})


def config_of(fields: Mapping[str, Any]) -> Config:
    """The inverse of a configuration's `asdict`, as JSON leaves it."""
    return Config(**{**fields, "options": tuple((name, value) for name, value in fields["options"])})


def timing_json(timing: Timing) -> dict[str, Any]:
    return asdict(timing)


def timing_of(fields: Mapping[str, Any]) -> Timing:
    """The inverse of `timing_json`."""
    return Timing(**{**fields, "seconds": tuple(fields["seconds"])})
