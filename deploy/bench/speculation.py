"""What speculation did for one answer, by the server's own count; launches nothing."""

from __future__ import annotations

from deploy.bench.facts import Facts, accept_length, flush
from deploy.bench.results import Repeat
from deploy.bench.suite import Setting, repeat_of, spoken


def speculates(facts: Facts) -> bool:
    """By the server's own flags; one that tells none is taken for one that does not."""
    return bool(facts.server.flags.get("speculative_algorithm"))


def accept_rate(length: float, facts: Facts) -> float | None:
    """Of the steps that were drafted, the share that was accepted: a verification adds one token of its own."""
    steps = facts.server.flags.get("speculative_num_steps")
    return max(0.0, length - 1) / steps if isinstance(steps, int) and steps else None


def ask(setting: Setting, said: str) -> Repeat:
    """One answer after a flush, which also sets the server's count of accepted tokens to nothing."""
    flushed = setting.facts.flushes and flush(setting.target)
    answer = spoken(setting, said)
    length = accept_length(setting.target) if flushed and speculates(setting.facts) and not answer.failure else None
    if not length:
        return repeat_of(answer)
    rate = accept_rate(length, setting.facts)
    return repeat_of(answer, accept_length=length, **({"accept_rate": rate} if rate is not None else {}))
