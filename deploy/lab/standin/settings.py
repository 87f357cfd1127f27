"""The stand-in's settings: STANDIN_* variables, all optional; nothing else of the environment is read here.

STANDIN_LOAD_SECONDS       from joined to ready, in seconds (3)
STANDIN_TOKENS_PER_SECOND  of one request (200)
STANDIN_CHUNK_TOKENS       tokens of each chunk (0: random with EAGLE, else 1)
STANDIN_FIRST_TOKEN_SECONDS  from a request's arrival to its first chunk (0)
STANDIN_TEXT               what it answers, in place of its own sentence
STANDIN_THINK              1: thinks before every answer, also where the request does not ask for it
STANDIN_PARSER             reads calls with this parser of the tree in place of the flags' own; none: reads no call
STANDIN_DIE_AT             PHASE[:RANK][:EXIT CODE] or after:SECONDS[:RANK][:EXIT CODE]; every rank, code 1
STANDIN_HANG_AT            PHASE[:RANK] or after:SECONDS[:RANK]; lives on and does nothing more with the others
STANDIN_HOLD               a file: while it is there, the rank waits at the phase that it names
STANDIN_HEALTH_TIMEOUT     seconds until /health says 503 when the ranks do not answer (20)
STANDIN_DEATH_SECONDS      between rank 0's noticing a lost rank and its end (5)
STANDIN_DEVICE             the GPU's name in kernel tables (NVIDIA_GB10)
STANDIN_TRITON             Triton's version in kernel tables (3.5.0)
STANDIN_EXPERTS            experts of the model (160), STANDIN_MOE_SIZE their intermediate size (1536)
STANDIN_ENGINE             whose order of start it follows, if not the installed tree's: 0.5.4 or 0.5.14
STANDIN_SYSFS              where the RDMA devices are described (/sys)
STANDIN_FAULT_FILE         the file that orders a fault while the rank runs (/tmp/standin-fault): see orders.py

Phases: start, join, load, graphs, ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PHASES = ("start", "join", "load", "graphs", "ready")
AFTER = "after"


class SettingError(ValueError):
    """A STANDIN_ variable that cannot be understood."""


@dataclass(frozen=True)
class Fault:
    """A failure to be played by this rank: at a phase, or `seconds` after its start."""

    phase: str
    seconds: float = 0
    code: int = 1


@dataclass(frozen=True)
class Settings:
    """All settings of one rank, with faults that are meant for other ranks left out."""

    load_seconds: float = 3
    tokens_per_second: float = 200
    chunk_tokens: int = 0
    first_token_seconds: float = 0
    text: str = ""
    think: bool = False
    parser: str = ""
    die: Fault | None = None
    hang: Fault | None = None
    hold: str = ""
    health_timeout: float = 20
    death_seconds: float = 5
    device: str = "NVIDIA_GB10"
    triton: str = "3.5.0"
    experts: int = 160
    moe_size: int = 1536
    engine: str = ""
    sysfs: str = "/sys"
    fault_file: str = "/tmp/standin-fault"


def settings(environ: Mapping[str, str], rank: int) -> Settings:
    """The settings of a rank; SettingError names the variable that is wrong."""

    def number(name: str, default: float) -> float:
        try:
            return float(environ.get(f"STANDIN_{name}", default))
        except ValueError as error:
            raise SettingError(f"STANDIN_{name} is no number: {environ[f'STANDIN_{name}']}") from error

    return Settings(
        load_seconds=number("LOAD_SECONDS", 3),
        tokens_per_second=number("TOKENS_PER_SECOND", 200),
        chunk_tokens=int(number("CHUNK_TOKENS", 0)),
        first_token_seconds=number("FIRST_TOKEN_SECONDS", 0),
        text=environ.get("STANDIN_TEXT", ""),
        think=environ.get("STANDIN_THINK") == "1",
        parser=environ.get("STANDIN_PARSER", ""),
        die=fault(environ.get("STANDIN_DIE_AT", ""), rank),
        hang=fault(environ.get("STANDIN_HANG_AT", ""), rank),
        hold=environ.get("STANDIN_HOLD", ""),
        health_timeout=number("HEALTH_TIMEOUT", 20),
        death_seconds=number("DEATH_SECONDS", 5),
        device=environ.get("STANDIN_DEVICE", "NVIDIA_GB10"),
        triton=environ.get("STANDIN_TRITON", "3.5.0"),
        experts=int(number("EXPERTS", 160)),
        moe_size=int(number("MOE_SIZE", 1536)),
        engine=environ.get("STANDIN_ENGINE", ""),
        sysfs=environ.get("STANDIN_SYSFS", "/sys"),
        fault_file=environ.get("STANDIN_FAULT_FILE", "/tmp/standin-fault"),
    )


def fault(text: str, rank: int) -> Fault | None:
    """The fault that `phase[:rank][:code]` or `after:seconds[:rank][:code]` means for this rank, if any."""
    if not text:
        return None
    phase, *rest = text.split(":")
    if phase not in (*PHASES, AFTER):
        raise SettingError(f"no such phase: {phase} (one of {', '.join(PHASES)}, {AFTER}:SECONDS)")
    try:
        seconds = float(rest.pop(0)) if phase == AFTER else 0
        victim = int(rest.pop(0)) if rest else rank
        return Fault(phase, seconds, int(rest.pop(0)) if rest else 1) if victim == rank else None
    except (IndexError, ValueError) as error:
        raise SettingError(
            f"cannot read {text}: expected PHASE[:RANK][:CODE] or after:SECONDS[:RANK][:CODE]"
        ) from error
