"""What a rank left behind on its node, as it was gathered: values and their reading. Names no cause."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.launch.node import RunningRank

KEPT_HEAD = 4 << 20
KEPT_TAIL = 12 << 20
"""Bytes of a rank's log that are kept: how it started, and how it ended."""
_SECTION = "### "


@dataclass(frozen=True)
class Evidence:
    """One rank after its end. `container` is how it was found before it was killed, None where nobody could look.

    `finished` is when it ended by itself, in monotonic seconds of this machine; None where the take-down ended it, or
    nobody knows. `lost` says why its node could not be asked, `engine` why its Docker Engine could not; both are empty
    where they could. `disk_free` is in bytes.
    """

    rank: int
    container: RunningRank | None = None
    finished: float | None = None
    lost: str = ""
    engine: str = ""
    log: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    disk_free: int | None = None

    @property
    def expected(self) -> bool:
        """There is, or may be, a log to be had."""
        return bool(self.container or self.lost or self.engine)

    @property
    def ended(self) -> bool:
        """It was over before anyone here did anything."""
        return self.container is not None and self.container.state in ("exited", "dead")


def sections(text: str) -> dict[str, str]:
    """What evidence.sh printed: the text below each `### NAME`."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_SECTION):
            lines = found.setdefault(line.removeprefix(_SECTION).strip(), [])
        else:
            lines.append(line)
    return {name: "\n".join(body).strip() for name, body in found.items()}


def free_disk(table: str) -> int | None:
    """The least free space among the lines of `df -Pk`, in bytes."""
    rows = [line.split() for line in table.splitlines()]
    sizes = [int(row[3]) * 1024 for row in rows if len(row) >= 6 and row[3].isdigit()]
    return min(sizes, default=None)


def killed_by_kernel(kernel: str, identity: str) -> tuple[str, ...]:
    """The kernel's lines that tell of an out-of-memory kill in the container with this full id."""
    return tuple(line for line in kernel.splitlines() if identity and identity in line and "oom-kill" in line)


def cut(log: bytes) -> bytes:
    """A log with a line where its middle was left out, since it is as long as what is kept at most."""
    if len(log) < KEPT_HEAD + KEPT_TAIL:
        return log
    gap = b"\n[... the middle of this log was longer than what is kept, and is left out here ...]\n"
    return log[:KEPT_HEAD] + gap + log[KEPT_HEAD:]
