"""Runs that nobody measured: made up for tests, and their server says so."""

from __future__ import annotations

from random import Random

from deploy.bench.results import Better, Case, Client, Figure, Repeat, Run, Scalar, Server
from deploy.bench.stage import Fallen
from deploy.bench.suite import fell

KINDS: dict[str, tuple[str, Better]] = {
    "ttft_s": ("s", "lower"),
    "decode_tok_s": ("tok/s", "higher"),
    "total_s": ("s", "lower"),
    "accept_length": ("tokens", "higher"),
    "correct": ("share", "higher"),
    "turn": ("number", "neither"),
    "output_tok_s": ("tok/s", "higher"),
    "tpot_s": ("s", "lower"),
    "completion_tokens": ("tokens", "neither"),
    "prefill_tok_s": ("tok/s", "higher"),
    "step_s": ("s", "lower"),
    "step_at_zero_s": ("s", "lower"),
    "step_per_1k_tokens_s": ("s", "lower"),
    "b_over_a": ("ratio", "lower"),
}
CRASH = "OutOfResources: shared memory, Required: 147456, Hardware limit: 101376"


def case(name: str, repeats: list[dict[str, float]], *, failed: str = "", **parameters: Scalar) -> Case:
    """`repeats` as figures; with `failed` one more that failed so."""
    rows = [Repeat(ok=True, usage={"completion_tokens": 128}, figures=row, chunks=[0.5, 0.6]) for row in repeats]
    if failed:
        rows.append(Repeat(ok=False, error=failed, kind="refused"))
    figures = {}
    for figure in repeats[0] if repeats else ():
        values = sorted(row[figure] for row in repeats)
        unit, better = KINDS[figure]
        figures[figure] = Figure(unit, values[len(values) // 2], values[0], values[-1], len(values), better)
    return Case(name, dict(parameters), figures, rows)


def noisy(random: Random, count: int = 5, spread: float = 0.02, **truth: float) -> list[dict[str, float]]:
    """Repeats about a truth, with a relative standard deviation of `spread`."""
    return [{name: max(value * random.gauss(1, spread), 1e-9) for name, value in truth.items()} for _ in range(count)]


def run(
    suite: str, cases: list[Case], *, complete: bool = True, version: str = "0.5.4.post2", notes: tuple[str, ...] = ()
) -> Run:
    server = Server(
        "http://127.0.0.1:9",
        "made-up/model",
        "nothing: made up for a test",
        version,
        {"tp-size": 4},
        "sha256:00",
        ["E=1.json"],
    )
    client = Client("made-up-host", "3.11", 12.5)
    return Run(suite, "2026-01-01T00:00:00Z", 60.0, 0, complete, server, client, list(notes), cases)


def context(seed: int, speed: float = 1.0) -> Run:
    random = Random(seed)
    cases = []
    for tokens in (512, 4096, 16384, 32768, 131072):
        for prefix, share in (("cold", 1.0), ("warm", 0.05)):
            truth = {"ttft_s": 0.2 + share * tokens / 2500 / speed, "decode_tok_s": speed * 20 / (1 + tokens / 200000)}
            truth["step_s"] = (1 + tokens / 200000) / 20 / speed
            truth |= {"prefill_tok_s": 2500 * speed} if prefix == "cold" else {}
            failed = "stalled: no byte for 60 s" if tokens == 131072 and prefix == "cold" else ""
            cases.append(
                case(f"{tokens} {prefix}", noisy(random, **truth), failed=failed, tokens=tokens, prefix=prefix)
            )
    line = {"step_at_zero_s": 0.05 / speed, "step_per_1k_tokens_s": 0.05 / 200 / speed}
    fit = {name: Figure("s", value, 0.99 * value, 1.01 * value, 25, "lower") for name, value in line.items()}
    cases.append(Case("fit over all lengths", {}, fit))
    return run("context", cases, notes=("the prefix cache was flushed before each cold case",))


def agentic(seed: int) -> Run:
    """Three conversations of twelve turns; the third calls a wrong tool in the ninth, and is then cut off."""
    random, cases = Random(seed), []
    for number in (1, 2, 3):
        rows = [
            noisy(random, 1, 0.1, total_s=2 + 0.3 * turn, ttft_s=0.3 + 0.05 * turn)[0] | {"turn": turn, "correct": 1.0}
            for turn in range(1, 13)
        ]
        cases.append(case(f"conversation {number}", rows if number < 3 else rows[:9], conversation=number, turns=12))
    wrong = "read_file was asked for, list_directory came"
    cases[2].repeats[8] = Repeat(True, wrong, "wrong tool", figures=cases[2].repeats[8].figures | {"correct": 0.0})
    cases[2].repeats.append(Repeat(False, "the connection was cut", "cut"))
    return run("agentic", cases)


def eagle(seed: int) -> Run:
    random, cases = Random(seed), []
    for text, length in (("prose", 3.1), ("code", 3.4), ("random", 1.6)):
        truth = {"decode_tok_s": 7 * length, "accept_length": length}
        cases.append(case(f"{text} on", noisy(random, **truth), text=text, eagle=True))
        cases.append(case(f"{text} off", noisy(random, decode_tok_s=16.0), text=text, eagle=False))
    return run("eagle", cases)


def tables(seed: int) -> Run:
    random = Random(seed)
    return run(
        "tables",
        [
            case("A", noisy(random, decode_tok_s=16.9), tables=True, eagle=False),
            case("B", noisy(random, decode_tok_s=15.9), tables=False, eagle=False),
            fell("C", {"tables": False, "eagle": True}, Fallen("out-of-shared-memory", 0, CRASH)),
        ],
    )


def thinking(seed: int) -> Run:
    random = Random(seed)
    seconds = {"off": 8.0, "on": 30.0, "preserved": 26.0}
    cases = [
        case(
            mode,
            noisy(random, total_s=total, completion_tokens=20 * total, correct=1.0, spread=0.0),
            thinking=mode,
            turns=2,
        )
        for mode, total in seconds.items()
    ]
    return run("thinking", cases)


def load(seed: int) -> Run:
    random, cases = Random(seed), []
    for concurrency in (1, 2, 4, 8, 16, 32):
        output = 18 * concurrency / (1 + concurrency / 12)
        truth = {"output_tok_s": output, "ttft_s": 0.4 + concurrency / 20, "tpot_s": concurrency / output}
        shape: dict[str, Scalar] = {"sweep": "concurrency", "concurrency": concurrency, "prompt_tokens": 512}
        cases.append(case(f"{concurrency} at a time", noisy(random, 3, **truth), **shape))
    for rate in (0.5, 1.0, 2.0):
        truth = {"output_tok_s": 60 * rate, "ttft_s": 0.4 + 0.2 * rate, "tpot_s": 0.06 + 0.02 * rate}
        cases.append(case(f"{rate:g} a second", noisy(random, 3, **truth), sweep="rate", rate=rate, prompt_tokens=512))
    return run("load", cases)


def toolcall(seed: int) -> Run:
    random, cases = Random(seed), []
    for task, calls in (("no call", 0), ("one call", 1), ("two tools at once", 2)):
        for way in ("streamed", "whole"):
            rows = noisy(random, total_s=1.0 + calls, correct=1.0, spread=0.0)
            cases.append(case(f"{task}, {way}", rows, streamed=way == "streamed", calls=calls))
    return run("toolcall", cases)


def kernels(seed: int) -> Run:
    random, cases = Random(seed), []
    for tokens, ratio in ((1, 1.0), (64, 0.6), (4096, 0.9)):
        verdict = "faster" if ratio < 1 else "no difference"
        cases.append(case(f"{tokens} tokens", noisy(random, 7, b_over_a=ratio), tokens=tokens, verdict=verdict))
    return run("kernels", cases)


def all_suites(seed: int = 1) -> list[Run]:
    return [suite(seed) for suite in (context, agentic, eagle, tables, thinking, toolcall, load, kernels)]
