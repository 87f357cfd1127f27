"""Whether something is wrong with the cluster that was seen, and whether somebody meant it. Pure rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from deploy.cluster.spec import Watch
from deploy.launch.node import RunningRank, gib
from deploy.launch.symptom import Rule, wedged
from deploy.launch.watch.scene import NodeView, Scene
from deploy.launch.watch.when import epoch

SILENT_SECONDS = 11.0
"""A node that says nothing for so long is gone: long enough to log in anew, short enough to be told within 15 s."""
HEARD_SECONDS = 4.0
ENGINE_SECONDS = 1.5
SLOW_ENGINE = "no answer in"
"""An engine for which the pulse has waited already."""
ABSENT_SECONDS = 2.0
FIRST_ANSWER_SECONDS = 300.0
"""The first request compiles kernels for up to two minutes, and health answers wait behind it."""
STARVED_SHARE = 0.25
"""A node with less than this share of its memory floor is about to lose its SSH service."""
_ENDED = ("exited", "dead")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong: its kind, the rank where it shows (None: the whole), and the line that tells it."""

    kind: str
    rank: int | None
    text: str


def trouble(scene: Scene, rules: Watch, now: float) -> Trouble | None:
    """The first thing that is wrong, or None. An ended rank goes before all else; of several, the first to end."""
    ended = min(_ended(scene), key=lambda one: one[0], default=None)
    if ended:
        return ended[1]
    judges: tuple[Callable[[Scene, Watch, float], Iterator[Trouble]], ...]
    judges = (_paused, _engines, _silent, _removed, _starved, _late, _hung, _wedged, _garbage)
    return next(chain.from_iterable(judge(scene, rules, now) for judge in judges), None)


def planned(scene: Scene, now: float, kept: Iterable[int] = ()) -> bool:
    """Somebody removed the ranks: only `down` and `up` do.

    No node that can be heard has a container of the cluster any more; or not that of a rank which was taken down and
    `kept`, whatever became of the others, since their nodes may have been away when `down` came.
    """
    if any(_absent(scene.nodes[rank], now) for rank in kept):
        return True
    present = [node for node in scene.nodes.values() if now - node.heard < SILENT_SECONDS]
    if any(node.pulse is None for node in present):
        return False
    known = [node for node in present if node.engine_silent is None]
    return bool(known) and all(_absent(node, now) for node in known)


def _absent(node: NodeView, now: float) -> bool:
    """For long enough not to be a moment between two containers."""
    return node.absent is not None and now - node.absent >= ABSENT_SECONDS


def leaving(scene: Scene, now: float) -> bool:
    """Containers went a moment ago: whether that is planned is not known yet."""
    return any(node.absent is not None and now - node.absent < 2 * ABSENT_SECONDS for node in scene.nodes.values())


def _ended(scene: Scene) -> Iterator[tuple[float, Trouble]]:
    for rank, pulse in scene.pulses.items():
        found = pulse.container
        if found is not None and found.state in _ENDED:
            yield scene.nodes[rank].finished(found), Trouble("ended", rank, f"rank {rank} {ending(found)}")


def ending(found: RunningRank) -> str:
    """How a container ended, in words."""
    why = "out of memory" if found.out_of_memory else found.error
    return f"exited with code {found.exit_code}" + (f" ({why})" if why else "")


def _paused(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    for rank, pulse in scene.pulses.items():
        if pulse.container is not None and pulse.container.state == "paused":
            yield Trouble("paused", rank, f"rank {rank} is paused: somebody froze its container")


def _engines(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    for rank, node in scene.nodes.items():
        error = node.pulse.docker_error if node.pulse else ""
        if error and (SLOW_ENGINE in error or node.heard - (node.engine_silent or node.heard) >= ENGINE_SECONDS):
            yield Trouble("engine", rank, f"the Docker Engine of rank {rank} gives no answer: {error}")


def cut_off(scene: Scene, now: float) -> bool:
    """No node at all is heard: it is this machine that is away, and the ranks may be well."""
    return all(now - node.heard >= SILENT_SECONDS for node in scene.nodes.values())


def _silent(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    # With no node heard just now, it may be this machine that is away: the last words of all differ by a second.
    if not any(now - node.heard < HEARD_SECONDS for node in scene.nodes.values()):
        return
    for rank, node in scene.nodes.items():
        if now - node.heard >= SILENT_SECONDS:
            why = f": {node.lost}" if node.lost else ""
            yield Trouble("silent", rank, f"the node of rank {rank} is away for {now - node.heard:.0f} s{why}")


def _removed(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    others = [node for node in scene.nodes.values() if node.pulse and node.pulse.ranks]
    if not any(now - node.heard < SILENT_SECONDS for node in others):
        return
    for rank, node in scene.nodes.items():
        if _absent(node, now):
            yield Trouble("removed", rank, f"the container of rank {rank} is gone while others are there")


def _starved(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    least = rules.memory_floor * STARVED_SHARE
    for rank, pulse in scene.pulses.items():
        if 0 < pulse.memory_available < least:
            text = f"the node of rank {rank} has {gib(pulse.memory_available)} of memory left"
            yield Trouble("memory", rank, f"{text}, a quarter of watch.memory_floor_gib")


def _late(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:
    """Ranks that run for longer than they may load, and rank 0 was never seen ready."""
    pulse = scene.pulses.get(0)
    if pulse is None or pulse.container is None or scene.nodes[0].healthy is not None:
        return
    loading = (pulse.clock - epoch(pulse.container.since)) / 60
    # A watch that came later asks once before it judges.
    if loading > rules.loading_minutes and now - scene.began > rules.hang_seconds:
        yield Trouble("late", 0, f"rank 0 is not ready after {loading:.0f} min; {who_is_mute(scene)}")


def _hung(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:
    healthy = scene.nodes[0].healthy
    patience = rules.hang_seconds if scene.answered else max(rules.hang_seconds, FIRST_ANSWER_SECONDS)
    if healthy is None or now - healthy < patience:
        return
    rank, head = _mute(scene), f"rank 0 has given no good health answer for {now - healthy:.0f} s"
    text = f"rank {rank} hangs: its health port gives no answer; {head}" if rank else head
    yield Trouble("hang", rank, f"{text}; {who_is_mute(scene)}")


def who_is_mute(scene: Scene) -> str:
    """What the health ports say, to tell a frozen rank from those that wait for it."""
    said = [f"rank {rank}: {_answer(node)}" for rank, node in scene.nodes.items() if node.unhealthy is not None]
    return ", ".join(said) or "the other ranks' health ports answer"


def _answer(node: NodeView) -> str:
    return node.answer or "no answer"


def _mute(scene: Scene) -> int:
    """The worker whose own port fell silent; it answers without the others, so it is the frozen one. Else rank 0."""
    silent = [rank for rank, node in scene.nodes.items() if rank and node.unhealthy is not None]
    return silent[0] if len(silent) == 1 else 0


def _wedged(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    found = wedged(scene.samples, Rule(rules.wedge_seconds, rules.wedge_watts)) if scene.answered else None
    if found:
        yield Trouble("wedge", None, found.text)


def _garbage(scene: Scene, rules: Watch, now: float) -> Iterator[Trouble]:  # noqa: ARG001
    if len(scene.bad_texts) >= 2:
        yield Trouble("garbage", None, f"rank 0 generates garbage: {scene.bad_texts[-1]}")
