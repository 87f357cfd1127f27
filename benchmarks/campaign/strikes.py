"""How each fault is brought about and taken back on a lane; judges nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from benchmarks.campaign import sight
from benchmarks.campaign.client import until
from benchmarks.campaign.lane import Lane, LaneError
from deploy.lab.faults import Strength

ORDERS = "tmp/standin-fault"
_HOG = "x = [bytearray(b'x') * (8 << 20) for _ in range(10000)]"
_LIMIT = "192m"
_NODE = {
    "cut": ("cut", "heal"),
    "cut-in": ("cut-in", "heal"),
    "cut-out": ("cut-out", "heal"),
    "slow": ("slow", "fast"),
    "lossy": ("lossy", "lossless"),
    "powered-off": ("poweroff", "poweron"),
    "engine-stops": ("engine-stop", "engine-start"),
    "engine-killed": ("engine-kill", "engine-start"),
    "disk-full": ("fill", "free"),
    "ssh-cut": ("ssh-cut", ""),
    "clock-back": ("clock-back", "clock-right"),
    "registry-dies": ("registry-stop", "registry-start"),
}
STRENGTH = Strength(rate="1mbit", loss=10)
_ORDERS = {"exits-0": "die:0", "exits-1": "die:1", "hangs": "hang", "wedge": "wedge", "garbage": "garbage"}


def strike(lane: Lane, fault: str, victim: int) -> float:
    """Bring a fault about; when it began to be true, in monotonic seconds. Raises LaneError where it did not take."""
    if fault == "reboots":
        return _reboot(lane, victim)
    if fault in _NODE:
        return _node(lane, fault, victim)
    return _rank(lane, fault, 0 if fault in ("wedge", "garbage") else victim)


def cure(lane: Lane, fault: str, victim: int) -> None:
    """Take back what a fault did to a node; what it did to a rank is the tool's to mend."""
    remedy = _NODE.get(fault, ("", ""))[1]
    if remedy:
        lane.fault(remedy, victim, STRENGTH)
    if remedy == "poweron":
        lane.find()


def _node(lane: Lane, fault: str, victim: int) -> float:
    began = time.monotonic()
    if fault == "engine-stops":
        # It returns when the engine has ended; the rank goes before that, and it is what must be noticed.
        threading.Thread(target=lane.fault, args=("engine-stop", victim), daemon=True).start()
        before = _containers(lane, victim)
        return _death(lane, victim, before) if before else began
    lane.fault(_NODE[fault][0], victim, STRENGTH)
    return began


def _reboot(lane: Lane, victim: int) -> float:
    began = time.monotonic()
    lane.fault("poweroff", victim)
    lane.fault("poweron", victim)
    lane.find()
    return began


def _rank(lane: Lane, fault: str, victim: int) -> float:
    mine = _containers(lane, victim)
    if not mine:
        return time.monotonic()  # stopping: it has left already
    acts: dict[str, Callable[[], object]] = {
        "killed": lambda: os.kill(sight.server(_pids(lane, victim)), signal.SIGKILL),
        "frozen": lambda: _freeze(_pids(lane, victim)),
        "out-of-memory": lambda: _grow(lane, victim, next(iter(mine))),
    }
    began = time.monotonic()
    if fault == "wedge":
        threading.Thread(target=lane.ask_for_much, daemon=True).start()
        time.sleep(0.5)
    try:
        acts.get(fault, lambda: _order(lane, victim, _ORDERS[fault]))()
    except (ProcessLookupError, ValueError, OSError):
        return began  # stopping: it left meanwhile
    return _death(lane, victim, mine) if fault in ("exits-0", "exits-1", "killed", "out-of-memory") else began


def _freeze(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def _order(lane: Lane, victim: int, text: str) -> None:
    root = f"/proc/{sight.server(_pids(lane, victim))}/root"
    with open(f"{root}/{ORDERS}", "w") as file:
        file.write(text)


def _grow(lane: Lane, victim: int, container: str) -> None:
    """A limit on the rank's container, and a process in it that grows over it; the kernel is told whom to take."""
    with open(f"/proc/{sight.server(_pids(lane, victim))}/oom_score_adj", "w") as file:
        file.write("1000")
    limit = f"docker update --memory {_LIMIT} --memory-swap {_LIMIT} {container} > /dev/null"
    lane.inside(victim, f'{limit} && docker exec {container} python3 -c "{_HOG}"')


def _containers(lane: Lane, victim: int) -> set[str]:
    return {name for name, one in lane.seen.alive().items() if one.node == victim}


def _pids(lane: Lane, victim: int) -> list[int]:
    return [pid for one in lane.seen.alive().values() if one.node == victim for pid in one.pids]


def _death(lane: Lane, victim: int, before: set[str]) -> float:
    if not until(lambda: not _containers(lane, victim) & before, 25, 0.02):
        raise LaneError(f"rank {victim} did not end, though it was made to")
    return max(one.last for one in lane.seen.of(before).values())
