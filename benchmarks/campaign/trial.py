"""One run of a cell on a lane: to the phase, the fault, what follows, the recovery, and a look at what is left."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaign import sight
from benchmarks.campaign.cells import DOWN, ENGINE, GOES_ON, HANG, UNREACHABLE, Cell, victim
from benchmarks.campaign.client import Client, until
from benchmarks.campaign.judge import GRACE, Mark, Run, bounds
from benchmarks.campaign.lane import Lane, LaneError
from benchmarks.campaign.observer import Seen
from benchmarks.campaign.strikes import cure, strike
from benchmarks.campaign.truth import Known, answers
from deploy.errors import DeployError
from deploy.lab.faults import Strength

READY = 150.0
"""Seconds in which a start must come to its end on a busy machine of two cores."""
DWELL = 10.0
"""Seconds that a fault lasts which nothing has to be done about; longer than any rank may be silent here."""
PULL = Strength(rate="80mbit")
SHORT_LOAD = 0.5
WATCHED = tuple(os.environ.get("CAMPAIGN_UP", "--watch").split())
TROUBLE = re.compile(
    r"exit|ended|died|dead|kill|gone|lost|silent|reach|answer|fail|full|space|hang|hung|stuck|froz|wedge|garbage|memory"
    r"|broke|not ready|timed out|connection|warning|error",
    re.IGNORECASE,
)
_JOINING, _LOADING = "Init torch distributed begin", "Load weight begin"


class Trial:
    """A run in the making; `play` gives what was seen."""

    def __init__(self, lane: Lane, cell: Cell, number: int) -> None:
        self.lane, self.cell = lane, cell
        self.fault, self.phase = cell.fault.name, cell.phase
        self.victim = 0 if self.fault in ("wedge", "garbage") else victim(number, lane.count)
        self.run = Run(cell.name, number, self.victim, load=os.getloadavg()[0])
        self.up: Client | None = None
        self.first: Client | None = None
        self.second: Client | None = None
        self.gang: dict[str, Seen] = {}
        self.struck = 0.0
        self.cured = True

    def play(self) -> Run:
        stages = (self._clear, self._reach, self._before, self._strike, self._follow, self._after, self._judge_logs,
                  self._cure, self._recover, self._again, self._down_again, self._look_around)  # fmt: skip
        try:
            for stage in stages:
                began = time.monotonic()
                stage()
                self.run.stages[stage.__name__.strip("_")] = round(time.monotonic() - began, 1)
        except (LaneError, DeployError) as error:
            self.run.broken = str(error)[:1500]
        finally:
            self._tidy()
            self.run.said = self._said()
        return self.run

    def _said(self) -> list[str]:
        """What the commands said, with seconds after the fault."""
        clients = dict.fromkeys(one for one in (self.first, self.up, self.second) if one)
        return [f"{at - self.struck:+.1f} {line[:300]}" for one in clients for at, line in one.lines]

    def _clear(self) -> None:
        self.lane.clean()
        self.lane.seen.forget()

    # To the phase

    def _reach(self) -> None:
        if self.cell.fault.bound == HANG and self.phase in ("starting", "joining", "loading"):
            self.run.allowed = 60 * SHORT_LOAD
            self.file = self.lane.cluster(loading_minutes=SHORT_LOAD)
        else:
            self.run.allowed = 9.0 if self.cell.fault.bound == HANG else 0.0
            self.file = self.lane.cluster()
        ways: dict[str, Callable[[], None]] = {
            "pulling": self._to_pulling, "starting": self._to_starting, "joining": self._to_joining,
            "loading": self._to_loading, "serving": self._to_serving, "stopping": self._to_serving,
        }  # fmt: skip
        ways[self.phase]()

    def _begin(self) -> Client:
        self.up = self.lane.client("up", *WATCHED, "--nodes", self.file)
        return self.up

    def _to_pulling(self) -> None:
        self.lane.drop_image(self.victim)
        self.lane.fault("registry-slow", how=PULL)
        self._expect(self._begin(), lambda: self.up and self.up.said(lambda line: "pull: " in line), 60)
        time.sleep(1.5)

    def _to_starting(self) -> None:
        self.lane.hold("start", tuple(self.lane.nodes))
        if self.fault == "disk-full":
            strike(self.lane, self.fault, self.victim)
            self.cured = False
            self._begin()
            return
        self._expect(self._begin(), lambda: len(self.lane.seen.alive()) == self.lane.count, 60)
        time.sleep(0.5)

    def _to_joining(self) -> None:
        self.lane.hold("join", ((self.victim + 1) % self.lane.count,))
        self._expect(self._begin(), lambda: self._all_say(_JOINING), 90)

    def _to_loading(self) -> None:
        self.lane.hold("load", tuple(self.lane.nodes))
        self._expect(self._begin(), lambda: self._all_say(_LOADING), 90)

    def _to_serving(self) -> None:
        self._expect(self._begin(), lambda: self.up and self.up.said(lambda line: " serves at " in line), READY)

    def _all_say(self, text: str) -> bool:
        alive = self.lane.seen.alive().values()
        return len(alive) == self.lane.count and all(text in one.line for one in alive)

    def _expect(self, client: Client, condition: Callable[[], object], timeout: float) -> None:
        until(lambda: condition() or not client.running, timeout)
        if not condition():
            raise LaneError(f"the phase {self.phase} was not reached: {client.text[-800:]}")

    # The fault, and what follows

    def _strike(self) -> None:
        if self.phase == "stopping":
            self.second = self.lane.client("down", "--grace", f"{GRACE:g}", "--nodes", self.file)
            head = self.lane.nodes[0]
            self._expect(self.second, lambda: sight.locked(head, "lab") or not self.second_runs, 30)
        self.gang, self.first = self.lane.seen.alive(), self.up
        self.struck = time.monotonic()
        if self.fault == "controller-killed":
            self._kill_controller()
        elif self.cured:
            self.cured = False
            self.struck = strike(self.lane, self.fault, self.victim)

    @property
    def second_runs(self) -> bool:
        return self.second is not None and self.second.running

    def _kill_controller(self) -> None:
        """SIGKILL, and the same command once more, as a user would."""
        one = self.second if self.phase == "stopping" else self.up
        if one is None:
            return
        one.kill()
        time.sleep(1)
        if self.phase == "stopping":
            self.second = self.lane.client("down", "--grace", f"{GRACE:g}", "--nodes", self.file)
        else:
            self._begin()

    def _follow(self) -> None:
        if self.phase == "stopping":
            until(lambda: not self.second_runs, 90)
        elif self.cell.follows == DOWN:
            self._follow_down()
        else:
            until(self._all_down, DWELL) if self.cell.follows != GOES_ON else time.sleep(DWELL)
        self._measure()

    def _follow_down(self) -> None:
        limit = bounds(self.cell, self.run)
        wait = 120.0 if limit is None or self.phase == "pulling" else limit.down + 10
        until(lambda: self._noticed() and (self._all_down() if self.gang else not self._up_runs), wait)

    @property
    def _up_runs(self) -> bool:
        return self.up is not None and self.up.running

    def _near(self) -> set[str]:
        """The gang's containers whose end can be asked for: not those on a node that nobody can reach."""
        far = self.cell.fault.bound in (UNREACHABLE, ENGINE)
        return {name for name, one in self.gang.items() if not (far and one.node == self.victim)}

    def _all_down(self) -> bool:
        return bool(self.gang) and not self._near() & set(self.lane.seen.alive())

    def _measure(self) -> None:
        found = self._noticed()
        if found:
            self.run.notice_s, self.run.line = max(found[0] - self.struck, 0.0), found[1][:300]
        if self.gang and self._all_down():
            last = max((one.last for one in self.lane.seen.of(self._near()).values()), default=self.struck)
            self.run.down_s = max(last - self.struck, 0.0)

    def _judge_words(self) -> None:
        """The line that names place and cause comes when the cause is known: after the gang is down."""
        told, place = re.compile(self.cell.fault.told or ".", re.IGNORECASE), self._place()
        found = (
            self.first.said(lambda line: place.search(line) and told.search(line), self.struck) if self.first else None
        )
        if found:
            self.run.named, self.run.line = True, found[1][:300]

    def _noticed(self) -> tuple[float, str] | None:
        place = self._place()
        if self.first is None:
            return None
        return self.first.said(lambda line: place.search(line) and TROUBLE.search(line), self.struck)

    def _place(self) -> re.Pattern[str]:
        return re.compile(rf"\branks? (?:\d, )*{self.victim}\b|{re.escape(self.lane.nodes[self.victim].address)}\b")

    # What is said, and what is kept

    def _known(self) -> Known:
        alive = frozenset(self.lane.seen.alive())
        away = self.cell.fault.bound in (UNREACHABLE, ENGINE) and not self.cured and self.struck > 0
        alive_there = {name for name, one in self.lane.seen.of(set(alive)).items() if one.node == self.victim}
        ready = len(alive) == self.lane.count and all(self.lane.healthy(index) for index in self.lane.nodes)
        return Known(
            alive=alive - alive_there if away else alive,
            ranks=self.lane.count,
            ready=ready,
            locked=any(sight.locked(node, "lab") for node in self.lane.nodes.values()),
            away=int(away),
            hurt=self.cell.fault.bound == HANG and self.struck > 0 and bool(set(alive) & set(self.gang)),
            doubtful=self.fault == "lossy" and not self.cured,
        )

    def _before(self) -> None:
        if self.phase != "stopping":
            self._mark("before the fault")

    def _after(self) -> None:
        self._mark("after the fault")

    def _again(self) -> None:
        self._mark("serving again")

    def _mark(self, when: str) -> None:
        before = self._known()
        one = self.lane.client("status", "--json", "--nodes", self.file)
        if one.wait(90) is None:
            one.end(5)
        said = _state(one.text)
        self.run.marks.append(Mark(when, said, answers(before, self._known())))

    def _judge_logs(self) -> None:
        """Each rank that is gone must have its last line on this machine, or its container on its node still."""
        if self.phase == "stopping" or self.fault == "disk-full":
            return
        kept = "\n".join(_texts(self.lane.state))
        alive = set(self.lane.seen.alive())
        for name, one in self.lane.seen.of(set(self.gang)).items():
            away = one.node == self.victim and self.cell.fault.bound == UNREACHABLE
            if name in alive or away or not one.line or one.line in kept:
                continue
            if name not in sight.containers(self.lane.nodes[one.node]):
                self.run.lost_logs.append(f"rank {one.node}: {one.line[:100]}")

    # Back to a gang that serves

    def _cure(self) -> None:
        self.lane.release()
        if self.phase == "pulling" and self.fault != "registry-dies":  # that one comes back without the limit
            self.lane.fault("registry-fast")
        if not self.cured:
            cure(self.lane, self.fault, self.victim)
        self.cured = True

    def _recover(self) -> None:
        """By the watch itself where it still runs, else by the next `up`; with no hand on it."""
        if self.phase == "stopping":
            self._recover_from_down()
        if not until(lambda: self._serves() or not self._up_runs, READY):
            self.run.next_up = f"not serving after {READY:g} s: {self.up.text[-600:] if self.up else ''}"
        elif not self._serves():
            self._next_up()
        self._judge_words()
        self.run.same_gang = bool(self.gang) and set(self.gang) == set(self.lane.seen.alive())
        stale = set(self.gang) & set(self.lane.seen.alive()) if not self.run.same_gang else set()
        self.run.orphans += [f"rank {self.gang[name].node} of the old gang" for name in stale]

    def _recover_from_down(self) -> None:
        code = self.second.wait(60) if self.second else None
        if code is None and self.second:
            self.run.ended = "`down` did not end"
            self.second.end()
        until(lambda: not self._up_runs, 10)
        if code != 0 and self.cell.fault.bound in (UNREACHABLE, ENGINE):
            # A node that cannot be reached is told; `down` is to be repeated when it is back.
            code = self._down()
        if code != 0 and self.second:
            self.run.ended = f"`down` ended with {code}: {self.second.text[-600:]}"
        if self._up_runs and self.up:
            self.run.ended += " the watch goes on after `down`"
            self.up.end()

    def _next_up(self) -> None:
        one = self._begin()
        if not until(lambda: self._serves() or not one.running, READY) or not self._serves():
            self.run.next_up = f"code {one.code}: {one.text[-800:]}"

    def _serves(self) -> bool:
        """Every rank of one gang is there, and the tool says that it serves."""
        if self.up is None or len(self.lane.seen.alive()) != self.lane.count:
            return False
        return self.up.said(lambda line: " serves at " in line) is not None and self.lane.healthy(0)

    # The end

    def _down_again(self) -> None:
        code = self._down()
        if code != 0:
            self.run.ended += f"`down` ended with {code}"
        if self.up and not until(lambda: not self._up_runs, 12):
            self.run.ended += " the watch goes on after `down`"
            self.up.end()

    def _look_around(self) -> None:
        until(lambda: not self.lane.left(), 5)
        self.run.orphans += self.lane.left()
        self.run.orphans += [f"controller: {one}" for one in self._own_processes()]
        self.run.ports += self.lane.ports()
        self._mark("down")

    def _own_processes(self) -> list[str]:
        return [line for one in (self.up, self.second) if one for line in sight.session(one.pid)]

    def _down(self) -> int | None:
        one = self.lane.client("down", "--grace", "2", "--nodes", self.file)
        code = one.wait(90)
        if code is None:
            one.end(5)
        return code

    def _tidy(self) -> None:
        """Whatever happened, nothing of this run is left running."""
        for one in (self.up, self.second):
            if one is not None and one.running:
                one.end()
        if not self.cured:
            self._cure()


def _state(text: str) -> str:
    """What `status --json` said of the whole; what it said instead where that is no JSON."""
    start = text.find("{")
    try:
        found = json.JSONDecoder().raw_decode(text[start:])[0]
    except ValueError:
        return f"no JSON: {text[-200:]}"
    state = found.get("state")
    if isinstance(state, str):
        return state
    return "serving" if found.get("serving") else "not serving"


def _texts(folder: Path) -> list[str]:
    return [file.read_text(errors="replace") for file in folder.rglob("*") if file.is_file()]
