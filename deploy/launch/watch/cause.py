"""Names why a gang went down, from what was seen and what its ranks left behind; what nothing tells stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.launch.watch.evidence import Evidence
from deploy.launch.watch.marks import CONSEQUENCES, EXCEPTION, JOINED, JOINING, PEER, ROOTS, Mark, followed
from deploy.launch.watch.trouble import Trouble, ending

LAST_LINES = 15
READ_LINES = 1000
"""Lines at a log's end in which a cause is looked for."""
DISK_FULL = 64 << 20
NODE_GONE, UNKNOWN = "node-gone", "unknown"
LAUNCH = "launch"
"""The kind of a trouble that `up` itself told of."""
# Seen first on the one node where it happens, and never a consequence of what other ranks do.
_AS_SEEN = {"paused": "hang", "engine": "engine-stopped", "removed": "killed", "memory": "out-of-memory"}
_LAUNCH_WORDS = {"garbage": "garbage", "hang": "paused", "killed": "removed"}
"""How `up` words what it saw, by the cause that it is."""
_SYMPTOMS = {"wedge", "garbage"}


@dataclass(frozen=True)
class Cause:
    """Why: a kind for scripts and folder names, the rank it began at if it is known, words, and lines that show it."""

    kind: str
    rank: int | None
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """All that is known of one fault: what was noticed, and each rank's evidence. `fabric`: addresses by rank."""

    trouble: Trouble
    ranks: Mapping[int, Evidence]
    fabric: Mapping[str, int]

    @property
    def order(self) -> Sequence[Evidence]:
        """The ranks that ended by themselves, the first to go first; then the others."""
        ranks = self.ranks.values()
        return sorted(ranks, key=lambda one: (not one.ended, followed(one.log), one.finished or 0.0, one.rank))

    @property
    def first(self) -> Evidence | None:
        return next((one for one in self.order if one.ended), None)


def name(case: Case) -> Cause:
    """The cause. The order of the rules is that of what can be a consequence of what: roots first."""
    rules: tuple[Callable[[Case], Iterator[Cause]], ...]
    rules = (_symptom, _killed_for_memory, _as_seen, _node_gone, _told, _full_disk, _mute, _launch, _ended, _unknown)
    return next(cause for rule in rules for cause in rule(case))


def _symptom(case: Case) -> Iterator[Cause]:
    if case.trouble.kind in _SYMPTOMS:
        yield Cause(case.trouble.kind, case.trouble.rank, case.trouble.text)


def _killed_for_memory(case: Case) -> Iterator[Cause]:
    for one in case.order:
        marked = one.container is not None and one.container.out_of_memory
        if one.kernel or (marked and one.ended):
            text = f"rank {one.rank} was killed by the kernel: its node, or its container's limit, ran out of memory"
            yield Cause("out-of-memory", one.rank, text, one.kernel or one.log[-LAST_LINES:])


def _as_seen(case: Case) -> Iterator[Cause]:
    seen = case.trouble
    if seen.kind in _AS_SEEN:
        yield Cause(_AS_SEEN[seen.kind], seen.rank, seen.text)
    for one in case.ranks.values():
        if one.engine:
            text = f"the Docker Engine of rank {one.rank} gives no answer: {one.engine}"
            yield Cause(_AS_SEEN["engine"], one.rank, text)


def _node_gone(case: Case) -> Iterator[Cause]:
    """A node that cannot be asked any more: what the others say of it is a consequence."""
    for one in case.ranks.values():
        if one.lost:
            yield Cause(NODE_GONE, one.rank, f"the node of rank {one.rank} cannot be reached: {one.lost}")


def _told(case: Case) -> Iterator[Cause]:
    """What a rank itself says. One that ended first is heard first; after it, NCCL's errors are consequences."""
    for one in case.order:
        found = _mark_in(one.log)
        if found and (one is case.first or case.first is None or found[0].kind not in CONSEQUENCES):
            mark, line = found
            yield Cause(mark.kind, *_worded(case, one, mark, line), _around(one.log, line))


def _mark_in(log: Sequence[str]) -> tuple[Mark, str] | None:
    """The first line at the end of a log that names a root."""
    for line in log[-READ_LINES:]:
        for mark in ROOTS:
            if mark.pattern.search(line):
                return mark, line
    return None


def _worded(case: Case, one: Evidence, mark: Mark, line: str) -> tuple[int, str]:
    """The rank where it began, and the words."""
    said = f"rank {one.rank}: {mark.text}: {line.strip()[-300:]}"
    missing = _never_joined(case) if mark.kind == "rendezvous" else ()
    if missing:
        names = ", ".join(f"rank {rank}" for rank in missing)
        return missing[0], f"{names} never joined; {said}"
    return one.rank, said


def _never_joined(case: Case) -> tuple[int, ...]:
    """Ranks that did not even come to the rendezvous; with logs of all that came, the others are known."""
    return tuple(rank for rank, one in case.ranks.items() if not _says(one, JOINING) and not _says(one, JOINED))


def _says(one: Evidence, pattern: object) -> bool:
    return any(pattern.search(line) for line in one.log)  # type: ignore[attr-defined]


def _around(log: Sequence[str], line: str) -> tuple[str, ...]:
    at = list(log).index(line)
    return tuple(log[max(at - LAST_LINES + 3, 0) : at + 3])


def _full_disk(case: Case) -> Iterator[Cause]:
    for one in case.ranks.values():
        if one.disk_free is not None and one.disk_free < DISK_FULL:
            yield Cause("disk", one.rank, f"the disk of rank {one.rank}'s node is full", one.log[-LAST_LINES:])


def _mute(case: Case) -> Iterator[Cause]:
    if case.trouble.kind in ("hang", "late"):
        yield Cause("hang", case.trouble.rank, case.trouble.text)


def _launch(case: Case) -> Iterator[Cause]:
    """A launch that was given up with every rank alive: it was `up` itself that killed them."""
    text = case.trouble.text
    if case.trouble.kind == LAUNCH and "exited" not in text:
        kind = next((kind for kind, words in _LAUNCH_WORDS.items() if words in text), "not-ready")
        yield Cause(kind, case.trouble.rank, text)


def _ended(case: Case) -> Iterator[Cause]:
    """By how the first rank ended: its exit code, and what it said last."""
    one = case.first
    if one is None or one.container is None:
        return
    lines, code = one.log[-LAST_LINES:], one.container.exit_code
    lost = _lost_peer(case, one)
    how = f"rank {one.rank} {ending(one.container)}"
    # SGLang ends itself with SIGKILL when a connection is lost, which looks as if somebody else had sent it.
    if lost is not None:
        yield Cause("connection-lost", lost, f"{how}: its connection to rank {lost} was lost", lines)
    if followed(one.log):
        yield Cause("connection-lost", one.rank, f"{how}: its connections to other ranks were lost", lines)
    if code in (137, 143):
        signal = "SIGKILL" if code == 137 else "SIGTERM"
        yield Cause("killed", one.rank, f"{how}: somebody or something outside sent {signal}", lines)
    if code in (132, 134, 135, 136, 139):
        yield Cause("crash", one.rank, f"{how}: it crashed with signal {code - 128}", lines)


def _lost_peer(case: Case, one: Evidence) -> int | None:
    for line in reversed(one.log[-READ_LINES:]):
        found = PEER.search(line)
        if found and found[1] in case.fabric and case.fabric[found[1]] != one.rank:
            return case.fabric[found[1]]
    return None


def _unknown(case: Case) -> Iterator[Cause]:
    one = case.first
    if one is None or one.container is None:
        yield Cause(UNKNOWN, case.trouble.rank, case.trouble.text)
        return
    said = next((found[1] for line in reversed(one.log) if (found := EXCEPTION.match(line.strip()))), "")
    text = f"rank {one.rank} {ending(one.container)}" + (f": {said[:300]}" if said else "")
    yield Cause(UNKNOWN, one.rank, text, one.log[-LAST_LINES:])
