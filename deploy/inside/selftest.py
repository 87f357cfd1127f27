"""Does this image hold what it was built for? `python3 -m deploy.inside.selftest [--json]`; decides nothing itself.

Exit code 0 where no check failed, 1 where one did, 2 where this is no image of this toolkit's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deploy.inside import calls, nccl, tables, versions
from deploy.inside.check import ALLOWED, FAILED, NOT_CHECKED, PASSED, STAND_IN, BuiltFor, Check, Inside
from deploy.inside.child import Child
from deploy.inside.patches import patches

HOME = Path(__file__).resolve().parents[2]
UNCHECKED = (
    ("gpu.kernels", "that the kernels run on this GPU", "`up` waits for one real generation"),
    ("fabric.rdma", "that the nodes reach each other by RDMA", "`logs` names the network that NCCL chose"),
    ("server.nccl", "the NCCL that the running server has loaded", "/proc/PID/maps of the server's processes"),
    ("server.tables", "the kernel tables that the running server took", "each rank's log names them"),
)
"""What only a GPU or a running server shows, and where."""


def look_inside(home: Path = HOME, stand_in: Path = STAND_IN) -> Inside:
    """This image. Raises LookupError where it is none of this toolkit's."""
    built_for = BuiltFor.read()
    package = versions.place("sglang")
    tree = package.parent if package else Path(built_for.tree)
    words = stand_in.read_text(encoding="utf-8").strip() if stand_in.is_file() else ""
    return Inside(built_for, home, tree, words)


def run(inside: Inside) -> list[Check]:
    """Every check; what raises is that check's failure."""
    # The two processes work while the rest is looked at.
    loading = Child("deploy.inside.nccl", inside.home)
    parsing = Child("deploy.inside.calls", inside.home, str(inside.home), str(inside.tree))
    found = patches(inside)
    parts: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("sglang.version", lambda: versions.sglang(inside, found.bases)),
        ("triton.version", lambda: [versions.triton(inside)]),
        ("torch.version", lambda: [versions.torch(inside)]),
        ("sgl-kernel.version", lambda: versions.gated(inside)),
        ("patches", lambda: [found.check]),
        ("tables", lambda: tables.checks(inside)),
        ("parser.import", lambda: calls.checks(inside, parsing)),
        ("nccl.loaded", lambda: nccl.checks(inside, loading)),
    )
    checks = [check for name, part in parts for check in guarded(name, part)]
    unchecked = [Check(name, NOT_CHECKED, f"not seen here: {what}", "", how) for name, what, how in UNCHECKED]
    return [*checks, *unchecked]


def guarded(name: str, part: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks of one part. An exception is its failure, and the others go on."""
    try:
        yield from part()
    except Exception as error:
        hint = "this is a mistake in the self-test, or a base that nobody thought of: please report it"
        yield Check(name, FAILED, f"{type(error).__name__}: {error}", "no exception", hint)


def text(checks: list[Check]) -> str:
    """For people; what failed stands last, where a build shows it."""
    order = (PASSED, NOT_CHECKED, ALLOWED, FAILED)
    lines = [line for outcome in order for check in checks if check.outcome == outcome for line in _lines(check)]
    counts = ", ".join(f"{sum(check.outcome == outcome for check in checks)} {_word(outcome)}" for outcome in order)
    return "\n".join([*lines, f"self-test: {counts}"])


def _lines(check: Check) -> Iterator[str]:
    needed = f"; needed: {check.needed}" if check.needed and check.outcome != PASSED else ""
    yield f"{_word(check.outcome):11}  {check.id:24} {check.seen}{needed}"
    if check.hint and check.outcome != PASSED:
        yield f"{'':11}  {'':24} -> {check.hint}"


def _word(outcome: str) -> str:
    return "FAILED" if outcome == FAILED else outcome.replace("_", " ")


def document(checks: list[Check]) -> str:
    """For programs."""
    passed = not any(check.outcome == FAILED for check in checks)
    return json.dumps({"format": 1, "passed": passed, "checks": [check.as_json() for check in checks]}, indent=2)


def main(argv: list[str] | None = None) -> int:
    """0: nothing failed. 1: a check failed. 2: not an image of this toolkit's."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.inside.selftest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(argv)
    try:
        inside = look_inside()
    except LookupError as error:
        print(f"self-test: {error}", file=sys.stderr)
        return 2
    checks = run(inside)
    print(document(checks) if asked.json else text(checks))
    return 1 if any(check.outcome == FAILED for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
