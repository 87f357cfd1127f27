"""What an image's self-test said on a node, judged. Pure; `deploy.inside.selftest` is the test itself."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from deploy.command import Result

FORMAT = 1
REBUILD = "make a new image: `python build-and-deploy.py build`, then `push` and `up`"


@dataclass(frozen=True)
class Proof:
    """`problem` and `hint` are empty where the image passed. `allowed` is what failed and was let pass on request."""

    summary: str = ""
    problem: str = ""
    hint: str = ""
    allowed: tuple[str, ...] = ()


def judge(result: Result) -> Proof:
    """What the self-test's command says of the image on its node."""
    report = _report(result.stdout)
    if report is None:
        return _unread(result)
    if report.get("format") != FORMAT:
        what = f"its self-test speaks format {report.get('format')}, and this toolkit reads {FORMAT}"
        return Proof(problem=what, hint="use the toolkit that the image was built with, or build anew")
    checks = report["checks"]
    failed = [one for one in checks if one["outcome"] == "failed"]
    if failed or not report["passed"]:
        return Proof(problem="; ".join(map(_shown, failed)) or "it did not pass", hint=_hints(failed))
    if not result.ok:
        return Proof(problem=f"it passed, but that could not be kept: {result.tail(2)}", hint="run `up` again")
    allowed = tuple(_shown(one) for one in checks if one["outcome"] == "allowed")
    return Proof(_counted(checks), allowed=allowed)


def _report(text: str) -> dict[str, Any] | None:
    """The JSON object in what was printed; None where there is none, or one without checks."""
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
        return found if all({"id", "outcome", "seen"} <= set(one) for one in found["checks"]) else None
    except (ValueError, LookupError, TypeError):
        return None


def _unread(result: Result) -> Proof:
    if result.code is None:
        return Proof(problem=f"the self-test did not end: {result.tail(1)}", hint="run `up` again")
    if "No module named" in result.stderr:
        return Proof(problem="the image has no self-test: an older toolkit built it", hint=REBUILD)
    return Proof(problem=f"the self-test did not run (exit code {result.code}): {result.tail(4)}", hint=REBUILD)


def _shown(check: dict[str, Any]) -> str:
    needed = f", needed: {check['needed']}" if check.get("needed") else ""
    return f"{check['id']}: {check['seen']}{needed}"


def _hints(failed: list[dict[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(one["hint"] for one in failed if one.get("hint"))) or REBUILD


def _counted(checks: list[dict[str, Any]]) -> str:
    """`9 passed, 3 not checked (gpu.kernels, …)`."""
    counts = Counter(one["outcome"] for one in checks)
    left = [one["id"] for one in checks if one["outcome"] == "not_checked"]
    shown = f"{counts['passed']} passed"
    return shown + (f", {len(left)} not checked ({', '.join(left)})" if left else "")
