"""One run of a cell on a lane: to the phase, the fault, what follows, the recovery, and a look at what is left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.campaign import sight
from benchmarks.campaign.approach import READY, reach
from benchmarks.campaign.cells import DOWN, GOES_ON, HANG, UNREACHABLE, Cell, victim
from benchmarks.campaign.client import until
from benchmarks.campaign.judge import GRACE, Mark, Run, bounds
from benchmarks.campaign.lane import HANG_SECONDS, Lane, LaneError
from benchmarks.campaign.scene import Scene
from benchmarks.campaign.strikes import cure, strike
from benchmarks.campaign.truth import answers
from deploy.errors import DeployError

DWELL = HANG_SECONDS + 3  # longer than a rank may be silent here
SHORT_LOAD = 0.5
"""Minutes that ranks may load in the cells in which they never come to an end."""


class Trial:
    """A run in the making; `play` gives what was seen."""

    def __init__(self, lane: Lane, cell: Cell, number: int) -> None:
        struck = 0 if cell.fault.name in ("wedge", "garbage") else victim(number, lane.count)
        self.lane, self.scene = lane, Scene(lane, cell, struck)
        self.run = Run(cell.name, number, struck, load=os.getloadavg()[0])

    def play(self) -> Run:
        stages: dict[str, Callable[[], None]] = {
            "clear": self._clear, "reach": self._reach, "before": partial(self._mark, "before the fault"),
            "strike": self._strike, "follow": self._follow, "after": partial(self._mark, "after the fault"),
            "logs": self._judge_logs, "cure": self._cure, "recover": self._recover,
            "again": partial(self._mark, "serving again"), "down": self._down, "look": self._look_around,
        }  # fmt: skip
        try:
            for name, stage in stages.items():
                began = time.monotonic()
                stage()
                self.run.stages[name] = round(time.monotonic() - began, 1)
        except (LaneError, DeployError) as error:
            self.run.broken = str(error)[:1500]
        finally:
            self._tidy()
            self.run.said = self.scene.said()
        return self.run

    def _clear(self) -> None:
        self.lane.clean()
        self.lane.seen.forget()

    def _reach(self) -> None:
        scene = self.scene
        if scene.cell.fault.bound == HANG and scene.phase in ("starting", "joining", "loading"):
            self.run.allowed = 60 * SHORT_LOAD
            scene.timeout = ("--timeout", f"{60 * SHORT_LOAD:g}")
        elif scene.cell.fault.bound == HANG:
            self.run.allowed = HANG_SECONDS
        scene.file = self.lane.cluster()
        reach(scene)

    # The fault, and what follows

    def _strike(self) -> None:
        scene = self.scene
        if scene.phase == "stopping":
            # `up` holds the lock for a moment after it has said that it serves.
            until(lambda: not scene.locked(), 30)
            scene.begin_down(GRACE)
            until(lambda: scene.locked() or not scene.down_runs, 30, 0.02)
        scene.gang, scene.first = self.lane.seen.alive(), scene.up
        if scene.struck:
            return  # on the way to the phase
        scene.struck = time.monotonic()
        if scene.fault == "controller-killed":
            self._kill_controller()
        else:
            scene.cured = False
            scene.struck = strike(self.lane, scene.fault, scene.victim)

    def _kill_controller(self) -> None:
        """SIGKILL, and the same command once more, as a user would."""
        scene = self.scene
        stopping = scene.phase == "stopping"
        one = scene.down if stopping else scene.up
        if one is not None:
            one.kill()
        time.sleep(1)
        if stopping:
            scene.begin_down(GRACE)
        else:
            scene.begin()

    def _follow(self) -> None:
        scene = self.scene
        if scene.phase == "stopping":
            until(lambda: not scene.down_runs, 90)
        elif scene.cell.follows == DOWN:
            limit = bounds(scene.cell, self.run)
            wait = 120.0 if limit is None or scene.phase == "pulling" else limit.down + 10
            until(lambda: scene.noticed() and (scene.all_down() if scene.gang else not scene.up_runs), wait)
        elif scene.cell.follows == GOES_ON:
            time.sleep(DWELL)
        else:
            until(scene.all_down, DWELL)
        self._measure()

    def _measure(self) -> None:
        scene = self.scene
        found = scene.noticed()
        if found:
            self.run.notice_s, self.run.line = max(found[0] - scene.struck, 0.0), found[1][:300]
        if scene.all_down():
            ends = [one.last for one in self.lane.seen.of(scene.near()).values()]
            self.run.down_s = max(max(ends, default=scene.struck) - scene.struck, 0.0)

    # What is said, and what is kept

    def _mark(self, when: str) -> None:
        if when == "before the fault" and (self.scene.phase == "stopping" or self.scene.struck):
            return
        before = self.scene.known()
        one = self.lane.client("status", "--json", "--nodes", self.scene.file)
        if one.wait(90) is None:
            one.end(5)
        self.run.marks.append(Mark(when, state(one.text), answers(before, self.scene.known())))

    def _judge_logs(self) -> None:
        """Each rank that is gone must have its last line on this machine, or its container on its node still."""
        scene = self.scene
        if scene.phase == "stopping" or scene.fault == "disk-full":
            return
        until(lambda: self._lost() == [], 10)
        self.run.lost_logs += self._lost()

    def _lost(self) -> list[str]:
        scene, alive, found = self.scene, set(self.lane.seen.alive()), []
        kept = "\n".join(_texts(self.lane.state))
        for name, one in self.lane.seen.of(set(scene.gang)).items():
            away = one.node == scene.victim and scene.cell.fault.bound == UNREACHABLE
            there = name in alive or name in sight.containers(self.lane.nodes[one.node])
            if one.line and not away and not there and one.line not in kept:
                found.append(f"rank {one.node}: {one.line[:100]}")
        return found

    # Back to a gang that serves

    def _cure(self) -> None:
        scene = self.scene
        self.lane.release()
        if scene.phase == "pulling" and scene.fault != "registry-dies":  # that one comes back without the limit
            self.lane.fault("registry-fast")
        if not scene.cured:
            cure(self.lane, scene.fault, scene.victim)
            self.lane.release()  # a node that was off could not hear of it
        scene.cured = True

    def _recover(self) -> None:
        """By the watch itself where it still runs, else by the next `up`; with no hand on it."""
        scene = self.scene
        if scene.phase == "stopping":
            self._end_of_down()
        until(lambda: scene.serves() or not scene.up_runs, READY)
        self._name()
        if not scene.serves() and scene.up_runs:
            self.run.next_up = f"not serving after {READY:g} s: {scene.up.text[-600:] if scene.up else ''}"
        elif not scene.serves():
            self._next_up()
        now = set(self.lane.seen.alive())
        self.run.same_gang = bool(scene.gang) and set(scene.gang) == now
        stale = set() if self.run.same_gang else set(scene.gang) & now
        self.run.orphans += [f"rank {scene.gang[name].node} of the old gang" for name in stale]

    def _name(self) -> None:
        """The line that names place and cause comes when the cause is known: after the gang is down."""
        found = self.scene.named()
        if found:
            self.run.named, self.run.line = True, found[1][:300]

    def _next_up(self) -> None:
        self.scene.timeout = ()
        one = self.scene.begin()
        until(lambda: self.scene.serves() or not one.running, READY)
        if not self.scene.serves():
            self.run.next_up = f"code {one.code}: {one.text[-800:]}"

    def _end_of_down(self) -> None:
        """`down` ends well; where a node cannot be reached it says so, and is to be repeated when that is back."""
        scene = self.scene
        code = scene.down.wait(60) if scene.down else None
        if code is None and scene.down:
            self.run.ended = "`down` did not end"
            scene.down.end()
        if code != 0 and (scene.out_of_reach or scene.fault in ("lossy", "ssh-cut")):
            code = scene.begin_down(2).wait(90)
        if code != 0 and scene.down:
            self.run.ended = f"`down` ended with {code}: {scene.down.text[-600:]}"
        self._watch_ends()

    def _watch_ends(self) -> None:
        """A planned `down` is no fault: the watch ends by itself."""
        if self.scene.up and not until(lambda: not self.scene.up_runs, 15):
            self.run.ended += " the watch goes on after `down`"
            self.scene.up.end()

    # The end

    def _down(self) -> None:
        one = self.scene.begin_down(2)
        code = one.wait(90)
        if code != 0:
            self.run.ended += f"`down` ended with {code}: {one.text[-300:]}"
        self._watch_ends()

    def _look_around(self) -> None:
        until(lambda: not self.lane.left(), 5)
        self.run.orphans += self.lane.left()
        self.run.orphans += [f"controller: {line}" for one in self.scene.commands for line in sight.session(one.pid)]
        self.run.ports += self.lane.ports()
        self._mark("down")

    def _tidy(self) -> None:
        """Whatever happened, nothing of this run is left running."""
        for one in self.scene.commands:
            if one.running:
                one.end()
        if not self.scene.cured:
            self._cure()


def state(text: str) -> str:
    """What `status --json` said of the whole; what it said instead where that is no JSON."""
    start = max(text.find("{"), 0)
    try:
        found = json.JSONDecoder().raw_decode(text[start:])[0]
    except ValueError:
        return f"no JSON: {text[-200:]}"
    return str(found.get("state"))


def _texts(folder: Path) -> list[str]:
    return [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
