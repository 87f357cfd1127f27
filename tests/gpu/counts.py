"""Holds the tokens that the toolkit read against those that the engine says it processed; pure, asks nobody.

The engine's own count is what it logs of every finished request (--log-requests, JSON): its tokens, and with
speculation its verifications and the draft tokens that were right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINISHED = '"request.finished"'
METRIC = re.compile(r"^sglang:(prompt_tokens|generation_tokens|spec_verify_calls)_total(?:\{[^}]*\})? (\S+)$", re.M)
ACCEPTED = re.compile(r"accept len: ([\d.]+)")


@dataclass(frozen=True)
class Counted:
    """One request by the engine's own count. `at`: seconds on the log's clock; `logged`: accept lengths of the lines
    about decoding since the request before it."""

    id: str
    at: float
    prompt_tokens: int
    completion_tokens: int
    verified: int = 0
    right: int = 0
    told: float | None = None
    logged: tuple[float, ...] = ()

    @property
    def length(self) -> float | None:
        """Tokens a verification gave: those of the draft that were right, and its own."""
        return (self.right + self.verified) / self.verified if self.verified else None


def counted(lines: Iterable[tuple[float, str]]) -> list[Counted]:
    """The engine's finished requests, in their order, from the lines of its log and their times."""
    found: list[Counted] = []
    logged: list[float] = []
    for at, text in lines:
        if FINISHED in text:
            meta = json.loads(text[text.index("{") :])["out"]["meta_info"]
            found.append(_counted(meta, at, tuple(logged)))
            logged = []
        elif accepted := ACCEPTED.search(text):
            logged.append(float(accepted[1]))
    return found


def _counted(meta: Mapping[str, Any], at: float, logged: tuple[float, ...]) -> Counted:
    verified, right = int(meta.get("spec_verify_ct") or 0), int(meta.get("spec_num_correct_drafts") or 0)
    told = meta.get("spec_accept_length")
    return Counted(meta["id"], at, meta["prompt_tokens"], meta["completion_tokens"], verified, right, told, logged)


def by_request(heard: Sequence[Mapping[str, Any]], engine: Sequence[Counted]) -> dict[str, Any]:
    """Every answer that a client read beside the engine's count of the request with its id."""
    known = {one.id: one for one in engine}
    pairs = [(one, known[one["id"]]) for one in heard if one["id"] in known]
    names = ("prompt_tokens", "completion_tokens")
    unequal = [
        {"id": ours["id"], **{name: [ours[name], getattr(theirs, name)] for name in names}}
        for ours, theirs in pairs
        if any(ours[name] != getattr(theirs, name) for name in names)
    ]
    return {
        "requests": len(heard),
        "failed": sum(bool(one["failure"]) for one in heard),
        "found": len(pairs),
        "unequal": unequal,
        "ours": {name: sum(one[name] for one, _ in pairs) for name in names},
        "engine": {name: sum(getattr(one, name) for _, one in pairs) for name in names},
    }


def by_repeat(run: Mapping[str, Any], heard: Sequence[Mapping[str, Any]], engine: Sequence[Counted]) -> dict[str, Any]:
    """The repeats of a result's file beside the engine's count, each found among the answers as they came.

    A repeat is the next answer with its tokens and the times of its chunks; of a conversation, its first answer.
    """
    known, answers = {one.id: one for one in engine}, iter(heard)
    repeats = [(case["name"], repeat) for case in run["cases"] for repeat in case["repeats"] if repeat["usage"]]
    found, unequal, accepted = 0, [], []
    for case, repeat in repeats:
        theirs = known.get(next((one["id"] for one in answers if _same(one, repeat)), ""))
        if theirs is None:
            continue
        found += 1
        ours = [repeat["usage"]["prompt_tokens"], repeat["usage"]["completion_tokens"]]
        if ours != [theirs.prompt_tokens, theirs.completion_tokens]:
            unequal.append([case, ours, [theirs.prompt_tokens, theirs.completion_tokens]])
        if "accept_length" in repeat["figures"]:
            accepted.append(_accepted(case, repeat["figures"]["accept_length"], theirs))
    return {"repeats": len(repeats), "found": found, "unequal": unequal, "accept_length": accepted}


def _same(answer: Mapping[str, Any], repeat: Mapping[str, Any]) -> bool:
    tokens = all(answer[name] == repeat["usage"][name] for name in ("prompt_tokens", "completion_tokens"))
    return tokens and answer["chunks"] == repeat["chunks"]


def _accepted(case: str, ours: float, theirs: Counted) -> dict[str, Any]:
    """Our accept length, the engine's over all of the request, its own word for it, and its log's mean."""
    logged = sum(theirs.logged) / len(theirs.logged) if theirs.logged else None
    found = {"ours": ours, "engine": theirs.length, "engine_told": theirs.told, "engine_logged": logged}
    rounded = {name: value and round(value, 4) for name, value in found.items()}
    return {"case": case, **rounded, "verified": theirs.verified}


def by_load(run: Mapping[str, Any], requests: int, engine: Sequence[Counted]) -> list[dict[str, Any]]:
    """Each run of bench_serving beside the engine's count: one request to warm up, which counts nowhere, then its own.

    `engine`: the finished requests that none of the toolkit's own answers has, in their order.
    """
    rows, at = [], 0
    for case in run["cases"]:
        for repeat in case["repeats"]:
            own, at = engine[at + 1 : at + 1 + requests], at + 1 + requests
            verified, right = sum(one.verified for one in own), sum(one.right for one in own)
            rows.append(
                {
                    "case": case["name"],
                    "ok": repeat["ok"],
                    "requests": len(own),
                    "ours": {name: repeat["usage"].get(name) for name in ("prompt_tokens", "completion_tokens")},
                    "engine": {
                        "prompt_tokens": sum(one.prompt_tokens for one in own),
                        "completion_tokens": sum(one.completion_tokens for one in own),
                    },
                    "accept_length": repeat["figures"].get("accept_length"),
                    "engine_accept_length": (right + verified) / verified if verified else None,
                }
            )
    return rows


def totals(exposition: str) -> dict[str, float]:
    """The engine's counters of tokens and verifications, from what it exposes to Prometheus."""
    found: dict[str, float] = {}
    for name, value in METRIC.findall(exposition):
        found[name] = found.get(name, 0.0) + float(value)
    return found
