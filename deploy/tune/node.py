"""One node's part of a tuning run, in a container of the image: `python3 -m deploy.tune.node facts|head|join`.

Standard input is its lifeline: what is fed no more ends, and with it, as PID 1 ends, everything in its container.
Standard output is lines of JSON alone: facts, happenings, or {"error", "hint"} as the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from deploy.errors import DeployError, TuneError
from deploy.inside.lifeline import Lifeline
from deploy.kernels.exact.source import MODULE, installed
from deploy.tune.daemons import Daemons, Place, argv, environment, wait_for
from deploy.tune.device import Device
from deploy.tune.happening import line
from deploy.tune.problem import problem_of
from deploy.tune.task import task_of
from deploy.tune.trial import timing_of, trial_of

ROOT = Path(__file__).resolve().parents[2]
CUT_OFF = 3
"""Exit code of who was fed no more."""


def kernel_source() -> Path:
    """SGLang's module of kernel and launcher in this machine's tree. Raises TuneError."""
    found = installed()
    if found is None:
        raise TuneError(f"no SGLang here with {MODULE}", "run it in the image that `build --with-tune` makes")
    return found


def ray_version() -> str:
    """Ray's, without importing it. Raises TuneError where there is none."""
    try:
        return version("ray")
    except PackageNotFoundError:
        raise TuneError("Ray is not in this image", "build it with `build --with-tune`, and push it") from None


@dataclass(frozen=True)
class Given:
    """What a role works with: its arguments, its lifeline, and what undoes what it started once that breaks."""

    args: argparse.Namespace
    lifeline: Lifeline
    undo: list[Callable[[], None]]

    def begin(self, token: str, head: str = "") -> Daemons:
        """Ray's daemons, which end with the lifeline."""
        place = Place(self.args.address, self.args.name, self.args.ports, self.args.gpus)
        os.environ.update(environment(token, str(ROOT)))
        daemons = Daemons(argv(place, head), os.environ)
        self.undo.append(daemons.kill)
        return daemons

    def first_line(self) -> Any:
        """What the controller says first, as JSON; from then on the lifeline is watched."""
        told = json.loads(self.lifeline.line())
        self.lifeline.hold(self.over)
        return told

    def over(self, _: str) -> None:
        """The other end is gone."""
        for undo in self.undo:
            undo()
        os._exit(CUT_OFF)


def facts(given: Given) -> Iterator[str]:
    """What this node measures with, as one line: `facts` of its first GPU, `gpus`, and Ray's version."""
    given.lifeline.hold(given.over)
    device = Device(problem_of(json.loads(given.args.problem)), kernel_source(), 0, 1)
    given.undo.append(device.close)
    try:
        yield json.dumps({"ray": ray_version(), "facts": device.facts()})
    finally:
        device.close()


def head(given: Given) -> Iterator[str]:
    """Ray's head and the crew's driver: happenings until all sizes are finished."""
    job = given.first_line()
    address, port = given.args.address, given.args.ports
    daemons = given.begin(job["token"])
    wait_for(address, port, daemons)
    from deploy.tune.crew import Crew, Kind

    known = {trial_of(one["trial"]): timing_of(one["timing"]) for one in job["known"]}
    crew = Crew(task_of(job["task"]), Kind(kernel_source(), given.args.arch), known)
    crew.connect(f"{address}:{port}")
    yield from map(line, crew.measured(job["sizes"]))


def join(given: Given) -> Iterator[str]:
    """Ray's daemons of a further node, until the head is gone."""
    token = given.first_line()["token"]
    where = given.args.head
    wait_for(where.rpartition(":")[0], int(where.rpartition(":")[2]))
    why = given.begin(token, where).wait()
    raise TuneError(why, "the head is gone, or cannot reach this node")
    yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("facts").add_argument("problem", help="as JSON")
    for name in ("head", "join"):
        role = roles.add_parser(name)
        if name == "join":
            role.add_argument("--head", required=True, help="ADDRESS:PORT")
        else:
            role.add_argument("--arch", type=int, required=True, help="the GPU's, such as 121")
        role.add_argument("--address", required=True, help="this node's, on the fabric")
        role.add_argument("--name", required=True, help="what this node is called in what is told")
        role.add_argument("--ports", type=int, required=True, help="the first of those that Ray listens on")
        role.add_argument("--gpus", type=int, required=True)
    return parser


def main() -> int:
    """Play a role. Nothing but its lines comes to standard output; what others say is kept for the last words."""
    args = _parser().parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    said = tempfile.TemporaryFile()  # noqa: SIM115 (for as long as this process)
    for handle in (1, 2):
        os.dup2(said.fileno(), handle)
    given = Given(args, Lifeline(), [])
    roles: Mapping[str, Callable[[Given], Iterator[str]]] = {"facts": facts, "head": head, "join": join}
    code = 0
    try:
        for text in roles[args.role](given):
            answers.write(text + "\n")
    except DeployError as error:
        code = error.exit_code
        answers.write(json.dumps({"error": error.message, "hint": error.hint}) + "\n")
    except Exception as error:
        code = 1
        answers.write(json.dumps({"error": _last_words(said, error), "hint": ""}) + "\n")
    answers.flush()
    for undo in given.undo:
        undo()
    # Ray's own threads would keep the process for a while.
    os._exit(code)


def _last_words(said: IO[Any], error: Exception) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return " | ".join((f"{type(error).__name__}: {error}", *lines[-3:]))[:1000]


if __name__ == "__main__":
    sys.exit(main())
