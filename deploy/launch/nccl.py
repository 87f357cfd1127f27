"""Which NCCL the running ranks have loaded, and whether it is safe on aarch64. Pure; looks at no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.cluster.spec import OLDEST_NCCL, numbers
from deploy.launch.finding import on_ranks, shared

CURE = "set image.nccl to a version that is safe, then build, push and up"


@dataclass(frozen=True)
class Library:
    """A libnccl that a process has mapped; `version` is empty where its file does not say it."""

    path: str
    version: str

    @property
    def safe(self) -> bool:
        return bool(self.version) and numbers(self.version) >= numbers(OLDEST_NCCL)


@dataclass(frozen=True)
class NcclFinding:
    """The libraries that some ranks share: `kind` is safe, old, unknown, several, unmapped or unseen."""

    kind: str
    libraries: tuple[Library, ...]
    ranks: tuple[int, ...]
    of: int

    @property
    def level(self) -> str:
        return "info" if self.kind in ("safe", "unmapped", "unseen") else "warning"

    @property
    def text(self) -> str:
        """One line, without the cure."""
        head = f"NCCL on {on_ranks(self.ranks, self.of)}: "
        if not self.libraries:
            why = "no libnccl is mapped" if self.kind == "unmapped" else "no look into the container was had"
            return f"{head}not checked: {why}"
        names = " and ".join(f"{one.version or 'of an unknown version'} ({one.path})" for one in self.libraries)
        ends = {
            "old": f"; older than {OLDEST_NCCL} can hang for good on aarch64",
            "several": "; two are loaded at once",
        }
        return head + names + ends.get(self.kind, "")

    @property
    def cure(self) -> str:
        return CURE if self.level == "warning" else ""


def findings(mapped: Mapping[int, tuple[Library, ...] | None]) -> tuple[NcclFinding, ...]:
    """Each distinct outcome once; by rank, None for a rank that could not be looked at."""
    pairs = shared({rank: (libraries,) for rank, libraries in mapped.items()})
    return tuple(NcclFinding(_kind(libraries), libraries or (), ranks, len(mapped)) for libraries, ranks in pairs)


def _kind(libraries: tuple[Library, ...] | None) -> str:
    if libraries is None:
        return "unseen"
    if not libraries:
        return "unmapped"
    if any(one.version and not one.safe for one in libraries):
        return "old"
    if len(libraries) > 1:
        return "several"
    return "safe" if libraries[0].version else "unknown"
