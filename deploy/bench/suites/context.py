"""Context length against time to first token and speed of decoding; cold and warm prefixes are cases of their own.

The last case is the line that the time of a step follows over all lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from deploy.bench.facts import accept_length, flush
from deploy.bench.fit import fitted
from deploy.bench.reading import Answer
from deploy.bench.results import Case, Repeat
from deploy.bench.suite import Message, Plan, Setting, Steps, calibrated, measured, repeat_of
from deploy.bench.workload import Scale, text
from deploy.event import Event, Note

LENGTHS = (512, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 200_000)
FIT = "fit over all lengths"
MARGIN = 96
"""Tokens that are kept free below the context's limit: a text's length is known to about a hundredth."""
TASK = "Go on with this text in the same manner, as long as you can."


def run(setting: Setting) -> Iterator[Event | Case]:
    """A cold and a warm case for each length that fits."""
    scale = calibrated(setting, "prose")
    wanted, fitting = setting.wish.lengths or LENGTHS, lengths(setting)
    if fitting[-1] < max(wanted):
        yield Note(
            f"the server's context holds {setting.facts.limit} tokens: {fitting[-1]} are the most that are asked"
        )
    if not setting.facts.flushes:
        yield Note("the server offers no flush: a seed that was used before may find its prefixes warm", "warning")
    steps = Steps("context", 2 * len(fitting) * setting.wish.repeats)
    found: list[Case] = []
    for tokens in fitting:
        for prefix, asks in (("cold", cold), ("warm", warm)):
            plan = Plan(
                f"{tokens} tokens, {prefix}", {"tokens": tokens, "prefix": prefix}, asks(setting, scale, tokens)
            )
            for item in measured(plan, steps):
                found += [item] if isinstance(item, Case) else []
                yield item
    figures = fitted(step_times(found), setting.wish.seed, setting.wish.roofline)
    if figures:
        yield Case(FIT, {}, figures)


def step_times(cases: list[Case]) -> dict[float, list[float]]:
    """Seconds of a decoding step by length of the context, halfway through the answer; cold and warm alike."""
    points: dict[float, list[float]] = {}
    for case in cases:
        for repeat in case.repeats:
            one = repeat.figures
            if repeat.ok and "step_s" in one:
                length = case.figures["prompt_tokens"].median + case.figures["completion_tokens"].median / 2
                points.setdefault(length, []).append(one["step_s"])
    return points


def lengths(setting: Setting) -> tuple[int, ...]:
    """The lengths that fit the server's context with the answer; the largest that would not is cut to what does."""
    wanted, limit = setting.wish.lengths or LENGTHS, setting.facts.limit
    if limit is None:
        return wanted
    most = limit - setting.wish.tokens - MARGIN - limit // 64
    return tuple(dict.fromkeys(min(length, most) for length in wanted))


def cold(setting: Setting, scale: Scale, tokens: int) -> Iterator[Callable[[], Repeat]]:
    """Each repeat has a text of its own, and an empty cache where the server can empty it."""
    for number in range(setting.wish.repeats):
        said = text("prose", scale.length(tokens), setting.wish.seed, f"cold {tokens} {number}")
        yield partial(_ask_cold, setting, messages(said))


def _ask_cold(setting: Setting, told: list[Message]) -> Repeat:
    flushed = setting.facts.flushes and flush(setting.target)
    answer = _asked(setting, told)
    if answer.failure or not answer.times:
        return _stepped(repeat_of(answer))
    more = {"prefill_tok_s": (answer.prompt_tokens - (answer.cached_tokens or 0)) / answer.times[0]}
    found = accept_length(setting.target) if flushed else None
    return _stepped(repeat_of(answer, **more, **({"accept_length": found} if found else {})))


def warm(setting: Setting, scale: Scale, tokens: int) -> Iterator[Callable[[], Repeat]]:
    """All repeats ask about one text, which a request that is not counted has put into the cache."""
    said = text("prose", scale.length(tokens), setting.wish.seed, f"warm {tokens}")
    setting.whole(messages(said), max_tokens=1)
    for number in range(setting.wish.repeats):
        yield partial(_ask_warm, setting, messages(said, f"{TASK} This is request {number}."))


def _ask_warm(setting: Setting, told: list[Message]) -> Repeat:
    return _stepped(repeat_of(_asked(setting, told)))


def _stepped(repeat: Repeat) -> Repeat:
    """With the seconds of a decoding step, each of which sends a chunk."""
    if "decode_tok_s" in repeat.figures:
        repeat.figures["step_s"] = repeat.figures["tokens_per_chunk"] / repeat.figures["decode_tok_s"]
    return repeat


def messages(said: str, task: str = TASK) -> list[Message]:
    """The text first, so that the prefix is what is long."""
    return [{"role": "user", "content": f"{said}\n\n{task}"}]


def _asked(setting: Setting, told: list[Message]) -> Answer:
    """An answer of a fixed number of tokens, wherever the model would have ended, and without a thought."""
    extra = {"ignore_eos": True, "chat_template_kwargs": {"enable_thinking": False}}
    return setting.stream(told, max_tokens=setting.wish.tokens, extra=extra)
