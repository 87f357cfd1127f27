"""What those who measure tell, wherever they are: values, and as one line of JSON each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deploy.tune.trial import Timing, Trial, timing_json, timing_of, trial_json, trial_of


@dataclass(frozen=True)
class Began:
    """A GPU of `node` took up a batch size."""

    node: str
    tokens: int


@dataclass(frozen=True)
class Measured:
    """A trial was made."""

    node: str
    trial: Trial
    timing: Timing


@dataclass(frozen=True)
class Finished:
    """A batch size has all its measurements; `failed` says why there is no result all the same."""

    node: str
    tokens: int
    failed: str = ""


@dataclass(frozen=True)
class Lost:
    """A node's GPU is gone; `tokens` is the size that it was at, which another one takes over, or 0."""

    node: str
    why: str
    tokens: int = 0


Happening = Began | Measured | Finished | Lost
_KINDS: dict[str, Any] = {"began": Began, "measured": Measured, "finished": Finished, "lost": Lost}


def line(happening: Happening) -> str:
    """One line, without its end."""
    kind = type(happening).__name__.lower()
    fields: dict[str, Any] = dict(vars(happening))
    if isinstance(happening, Measured):
        fields |= {"trial": trial_json(happening.trial), "timing": timing_json(happening.timing)}
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"))


def heard(text: str) -> Happening:
    """The inverse of `line`. Raises ValueError for anything else."""
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.get("kind") not in _KINDS:
        raise ValueError(f"no such happening: {text[:80]}")
    kind = _KINDS[fields.pop("kind")]
    if kind is Measured:
        fields |= {"trial": trial_of(fields["trial"]), "timing": timing_of(fields["timing"])}
    made: Happening = kind(**fields)
    return made
