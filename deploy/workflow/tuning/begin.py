"""How a run begins: the place is ready, its GPU is the one that is meant, and the journal is its own."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from deploy.errors import TuneError
from deploy.event import Event
from deploy.kernels.gpu import GPUS
from deploy.tune.journal import Journal
from deploy.tune.problem import Problem
from deploy.workflow.tuning.site import Site


def begun(site: Site, problem: Problem, file: Path) -> Generator[Event, None, Journal]:
    """The journal of what is measured there, to be closed. A file of something else is refused before anything starts.

    Raises DeployError.
    """
    if file.exists():
        Journal(file, problem.as_json(), None).close()
    facts = yield from site.ready()
    see_that_it_is(problem, str(facts["device"]))
    return Journal(file, problem.as_json(), facts)


def see_that_it_is(problem: Problem, device: str) -> None:
    """Raise TuneError where a GPU is not the one that the table is for, and is not made to compile as if it were."""
    wanted, found = problem.gpu.device, device.replace(" ", "_")
    if problem.emulation or found == wanted or "stand-in" in device:
        return
    other = next((one.name for one in GPUS.values() if one.device == found), "")
    hint = f"--emulate compiles {problem.gpu.name}'s code on it, for want of one"
    if other:
        hint = f"--gpu '{other}' makes a table for this GPU; {hint}"
    raise TuneError(f"the table is for {problem.gpu.name}, and the GPU here is {device}", hint)
