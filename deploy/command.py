"""What runs on a node, as data; nothing here runs anything."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """One command: an argument vector, and text for its standard input.

    `secret` marks input that must never be shown. `held` keeps the input open, so that the command can notice
    when this side goes away. `loose` commands may be left behind when the operation is interrupted; all others are
    waited for, since what they begin must be known before it can be undone. `timeout` is in seconds.
    """

    argv: tuple[str, ...]
    stdin: str = field(default="", repr=False)
    secret: bool = False
    held: bool = False
    loose: bool = False
    timeout: float = 60.0

    def __str__(self) -> str:
        return shlex.join(self.argv)


@dataclass(frozen=True)
class Result:
    """How a command ended. `code` is None where no answer came: then `stderr` says why.

    `span` is between what times of this machine's clock the command said its first line; zeros where it said none.
    """

    command: Command
    code: int | None
    stdout: str = ""
    stderr: str = ""
    span: tuple[float, float] = (0.0, 0.0)

    @property
    def ok(self) -> bool:
        return self.code == 0

    def tail(self, lines: int = 5) -> str:
        """The last lines of what the command said, standard error last."""
        text = (self.stdout.rstrip() + "\n" + self.stderr.rstrip()).strip()
        return "\n".join(text.splitlines()[-lines:])
