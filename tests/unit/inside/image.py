"""An image as the self-test sees it, in a folder, for tests: a tree, what it was built for, and answers of children."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.inside.check import BuiltFor, Check, Inside
from deploy.inside.child import Child, ChildError

BUILT_FOR = BuiltFor("0.5.4.post2", "3.5.0", "/tree", None, "2.29.3")
STAND_IN = "a stand-in, without a GPU engine"


class Answer(Child):
    """A child that has answered already, or failed with these words."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def answer(self) -> Any:
        if isinstance(self.said, str):
            raise ChildError(self.said)
        return self.said


def inside(folder: Path, *, stand_in: str = "", **built_for: Any) -> Inside:
    words = {**vars(BUILT_FOR), "tree": str(folder), **built_for}
    return Inside(BuiltFor(**words), folder / "home", folder, stand_in)


def outcomes(checks: list[Check]) -> dict[str, str]:
    assert len({check.id for check in checks}) == len(checks), "an id stands for one check"
    return {check.id: check.outcome for check in checks}


def one(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.id == name)
