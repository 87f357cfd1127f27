"""What a check of this image says, and what the image was built for. Checks nothing itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

PASSED, FAILED, NOT_CHECKED, ALLOWED = "passed", "failed", "not_checked", "allowed"
VARIABLE = "SGLANG_SPARK_BUILT_FOR"
"""The build writes it into the image: BuiltFor as JSON."""
STAND_IN = Path("/etc/sglang-spark-stand-in")
"""A base that only stands in for a real one has this file, and says in it what it lacks."""
UNSAFE_TABLE = "unsafe-table"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `id` is stable; `needed` and `hint` may be empty."""

    id: str
    outcome: str
    seen: str
    needed: str = ""
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)

    def allowed(self) -> Check:
        """The same where a failure is let through."""
        return replace(self, outcome=ALLOWED) if self.outcome == FAILED else self


@dataclass(frozen=True)
class BuiltFor:
    """cluster.yaml's words about the image, as far as they can be held against it; `tree` is what was patched.

    `patches` are the optional sets.
    """

    sglang: str
    triton: str
    tree: str
    nccl: str | None
    oldest_nccl: str
    allow: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> BuiltFor:
        """From the image's environment. Raises LookupError where it is no image of this toolkit's."""
        try:
            found = json.loads(environ[VARIABLE])
            return cls(**{**found, **{name: tuple(found.get(name, ())) for name in ("allow", "patches")}})
        except (KeyError, ValueError, TypeError) as error:
            words = "is not set" if isinstance(error, KeyError) else f"cannot be read: {error}"
            raise LookupError(f"{VARIABLE} {words}: this runs inside an image that `build` made") from None


@dataclass(frozen=True)
class Inside:
    """Where the parts of this image lie: `home` holds deploy/ and patches/, `tree` the sglang/ that Python imports."""

    built_for: BuiltFor
    home: Path
    tree: Path
    stand_in: str = ""

    def absent(self, check: str, what: str, needed: str, hint: str) -> Check:
        """Something is not there: no base for a server without it, unless the base says that it is a stand-in."""
        if self.stand_in:
            return Check(check, NOT_CHECKED, f"{what} (stand-in base: {self.stand_in})", needed)
        return Check(check, FAILED, what, needed, hint)


def judged(check: str, good: bool, seen: str, needed: str, hint: str) -> Check:
    """Passed, or failed with what to do."""
    return Check(check, PASSED, seen, needed) if good else Check(check, FAILED, seen, needed, hint)
