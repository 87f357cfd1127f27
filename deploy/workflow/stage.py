"""A cluster's server with other settings, the cause where it falls, and the server as it was; measures nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeVar

from deploy.bench.stage import Aside, Fallen, Launched, Side
from deploy.cluster.load import Document
from deploy.cluster.spec import DEFAULT_SERVER
from deploy.command import Result
from deploy.errors import BenchError, DeployError, NotReadyError
from deploy.event import Event, Note
from deploy.launch.sglang import SPECULATIVE
from deploy.launch.watch import cause
from deploy.launch.watch.cause import LAUNCH, Case
from deploy.launch.watch.scene import Scene
from deploy.launch.watch.trouble import Trouble, trouble
from deploy.remote import look
from deploy.remote.execute import Fleet
from deploy.workflow.probe import look as look_at_use
from deploy.workflow.up import Options, planned, up
from deploy.workflow.watch.post import Post
from deploy.workflow.watch.takedown import take_down

T = TypeVar("T")
ALGORITHM = f"{SPECULATIVE}algorithm"
NO_TABLES = {"SGLANG_MOE_CONFIG_DIR": "/nonexistent/no-tables", "SGLANG_SPARK_MOE_DEFAULT": "upstream"}
"""SGLang looks for tables below the first, and finds none; the second leaves its default as it is, also where the
image's patch would make it smaller."""
HEARD = 4.0
FALLING = 20.0
"""Seconds from a rank's failure to the end of its process, with room."""
_RANK = re.compile(r"\brank (\d+)")


@dataclass
class Stage:
    """`holder`: who takes the cluster's lock, for others to read. `changed`: another server was begun."""

    document: Document
    environ: Mapping[str, str] = field(repr=False)
    holder: str
    changed: bool = False

    def launch(self, side: Side) -> Generator[Event, None, Launched | Fallen]:
        """See deploy.bench.stage, and `check`."""
        if not self.changed:
            self.check()
        document, self.changed = changed(self.document, side), True
        yield Aside(f"launching {words(side)}")
        began = time.monotonic()
        try:
            yield from _aside(up(document, self.environ, self._options()))
        except NotReadyError as error:
            told = _told(error.message)
            fallen = yield from self._why(lambda *_: told)
            return fallen or Fallen(cause.UNKNOWN, told.rank, told.text)
        return Launched(time.monotonic() - began, self._tables())

    def fallen(self) -> Generator[Event, None, Fallen | None]:
        """See deploy.bench.stage. Ranks that fell are taken down whole."""
        return (yield from self._why(_seen))

    def restore(self) -> Iterator[Event]:
        """The server that cluster.yaml asks for, where another was begun. Raises DeployError."""
        if self.changed:
            yield Aside("bringing the server back as it was")
            yield from up(self.document, self.environ, self._options())
            self.changed = False

    def _options(self) -> Options:
        return Options(self.document.cluster.watch.loading_minutes * 60, self.holder)

    def check(self) -> None:
        """See deploy.bench.stage. Raises BenchError where a watch is at work, or the file asks for another server."""
        watchers = {look.read(rank, one.stdout).watcher for rank, one in self._looks().items() if one.ok} - {""}
        if watchers:
            what = f"{self.document.cluster.name} is watched by {', '.join(sorted(watchers))}"
            hint = "stop that watch, and start it again afterwards: it would restart what this suite takes down"
            raise BenchError(what, hint)
        why = planned(self.document, self.environ).why
        if why:
            what = f"what runs is not what {self.document.cluster.name}'s file asks for: {why}"
            raise BenchError(what, "run `up` first: the suite ends by bringing back what the file asks for")

    def _tables(self) -> tuple[str, ...]:
        return tuple(one.text for one in look_at_use(self.document.cluster, self._looks()).tables)

    def _looks(self) -> dict[int, Result]:
        cluster = self.document.cluster
        with closing(Fleet(cluster)) as fleet:
            fleet.connect()
            return fleet.each(dict.fromkeys(fleet.ranks, look.command(cluster.name)))

    def _why(self, seen: Callable[[Post, Scene], Trouble | None]) -> Generator[Event, None, Fallen | None]:
        """The cause of a trouble that was seen, from what the ranks left behind."""
        cluster = self.document.cluster
        with closing(Post(cluster, self.holder)) as post:
            scene = _heard(post, HEARD)
            found = seen(post, scene)
            if found is None:
                return None
            down = yield from take_down(post, scene, range(len(cluster.nodes)))
        fabric = {node.fabric: rank for rank, node in enumerate(cluster.nodes)}
        evidence = {rank: left.evidence for rank, left in down.left.items()}
        named = cause.name(Case(found, evidence, fabric))
        return Fallen(named.kind, named.rank, named.text, named.lines)


def _aside(events: Iterator[Event]) -> Iterator[Event]:
    """An interruption still reaches whoever says them."""
    with closing(events) as said:  # type: ignore[type-var]
        for event in said:
            yield Aside(event.text, event.level) if isinstance(event, Note) else event


def changed(document: Document, side: Side) -> Document:
    """What cluster.yaml asks for, made into that side."""
    cluster, flags = document.cluster, dict(document.cluster.server)
    speculative = [name for name in {**DEFAULT_SERVER, **flags} if name.startswith(SPECULATIVE)]
    if not side.speculation:
        flags |= dict.fromkeys(speculative)
    elif ALGORITHM in flags and flags[ALGORITHM] is None:
        flags = {name: value for name, value in flags.items() if name not in speculative or value is not None}
    environment = {**cluster.environment, **({} if side.tables else NO_TABLES)}
    return replace(document, cluster=cluster.model_copy(update={"server": flags, "environment": environment}))


def words(side: Side) -> str:
    """A side as a person would say it."""
    tables = "kernel tables" if side.tables else "SGLang's default configuration"
    return f"{tables}, {'with' if side.speculation else 'without'} speculation"


def as_it_was(work: Generator[Event, None, T], stage: Stage | None) -> Generator[Event, None, T]:
    """The work, and then the first server again, also where the work failed or was interrupted."""
    if stage is None:
        return (yield from work)
    try:
        found = yield from work
    except GeneratorExit:
        for _ in stage.restore():  # nobody listens any more
            pass
        raise
    except BaseException:
        try:
            yield from stage.restore()
        except DeployError as error:
            yield Note(f"the server is not back: {error.message}", "warning")
        raise
    yield from stage.restore()
    return found


def _told(said: str) -> Trouble:
    text = said.splitlines()[0].removesuffix("; its last lines:")
    found = _RANK.search(text)
    return Trouble(LAUNCH, int(found[1]) if found else None, text)


def _heard(post: Post, seconds: float) -> Scene:
    """Until every node was heard, or has had its time."""
    scene = post.scene(answered=True)
    while len(scene.pulses) < len(scene.nodes) and time.monotonic() - scene.began < seconds:
        scene = post.look(scene)
    return scene


def _seen(post: Post, scene: Scene) -> Trouble | None:
    """What the watch would call a trouble, once there is one."""
    end = time.monotonic() + FALLING
    while time.monotonic() < end:
        scene = post.look(scene)
        if found := trouble(scene, post.cluster.watch, time.monotonic()):
            return found
    return None
