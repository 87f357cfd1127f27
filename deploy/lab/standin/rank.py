"""One rank's life: says a start's lines, meets the others, plays ordered faults, falls as SGLang; serves nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.kernels.finding import Target
from deploy.kernels.name import table_name
from deploy.kernels.shape import Shape

from .arguments import Launch
from .gang import Gang, JoinError
from .log import Log
from .settings import AFTER, Fault, Settings
from .start import Plan, Step, batch_sizes, order, script
from .tables import AS_IT_IS, OutOfResourcesError, TablePairError, check_default, check_pair, look_up

LARGEST_GRAPH = 512
GRACE_POLL = 5.0
HELD_POLL = 0.1
# Seen on the real engine: of the 5 s between the loss and rank 0's end, its scheduler lives 2.
SCHEDULER_GOES = 0.4


class Rank:
    """What a rank is told, how far it is, and its ways to end."""

    def __init__(self, told: Launch, settings: Settings, log: Log) -> None:
        self.told, self.settings, self.log = told, settings, log
        self.up = False
        self.leaving = threading.Event()
        self.falling = threading.Lock()
        self.bare: tuple[Shape, Target] | None = None
        """What SGLang's own default serves here, where it was asked for as it is."""
        self.gang = Gang(told.rank, told.nodes, self.lost)

    def start(self) -> None:
        """Everything until the scheduler is ready, in the order and with the lines of SGLang."""
        self.reach("start")
        for fault, play in ((self.settings.die, self.die), (self.settings.hang, self.hang)):
            if fault and fault.phase == AFTER:
                timer = threading.Timer(fault.seconds, play, (fault,))
                timer.daemon = True
                timer.start()
        self.log.scheduler("Init torch distributed begin.")
        self.reach("join")
        try:
            self.gang.join(self.told.rendezvous if self.told.nodes > 1 else ("", 0), self.told.join_timeout)
        except JoinError as error:
            self.fall(f"torch.distributed.DistNetworkError: {error}")
        if os.environ.get("NCCL_DEBUG") == "INFO" and self.told.tp > 1:
            self.say_network()
        for step in script(self.plan()):
            self.take(step)

    def take(self, step: Step) -> None:
        """One step of the start."""
        for line in step.lines:
            (self.log.plain if step.plain else self.log.scheduler)(line)
        if step.phase:
            self.reach(step.phase)
        if step.wait:
            self.gang.wait(step.wait)
        time.sleep(step.share * self.settings.load_seconds)

    def plan(self) -> Plan:
        """The script's inputs; the kernel tables are looked for here, and a bad pair ends the rank."""
        told, args = self.told, self.told.args
        largest = min(int(args.cuda_graph_max_bs or LARGEST_GRAPH), LARGEST_GRAPH)
        batches = batch_sizes(told.eagle, largest, int(args.max_running_requests or (48 if told.eagle else 256)))
        engine = order(self.settings.engine or told.version)
        shards = args.load_format != "dummy"
        return Plan(engine, told.rank == 0, told.eagle, shards, batches, self.tables(batches))

    def tables(self, batches: Sequence[int]) -> list[str]:
        """The lines about this rank's two kernel tables."""
        told, kept = self.told, self.settings
        fp8 = "fp8" in f"{told.args.quantization or ''} {told.args.model_path}".lower()
        shape = Shape(kept.experts, kept.moe_size // told.tp, 0, 0, "fp8_w8a8" if fp8 else "bf16")
        target = Target(sglang=told.version, triton=kept.triton)
        home = Path(os.environ.get("SGLANG_MOE_CONFIG_DIR", told.tree / target.rules.home))
        names = (table_name(shape, kept.device, target.rules, down=down) for down in (False, True))
        up, down = (look_up(home, target, str(name)) for name in names)
        met = [size * told.draft_tokens for size in batches]
        try:
            check_pair(up.table, down.table, shape, target, met)
            if up.table is None and os.environ.get(AS_IT_IS) == "upstream":
                self.bare = (shape, target)
                check_default(shape, target, met)
        except (TablePairError, OutOfResourcesError) as error:
            for found in (up, down):
                self.log.scheduler(found.line)
            kind = "AssertionError" if isinstance(error, TablePairError) else "triton.runtime.errors.OutOfResources"
            self.fall(f"{kind}: {error}")
        return [up.line, down.line]

    def meet(self, tokens: int) -> None:
        """A prompt of so many tokens is prefilled: a default that cannot run such a batch ends the rank."""
        try:
            if self.bare:
                check_default(*self.bare, [tokens])
        except OutOfResourcesError as error:
            self.fall(f"triton.runtime.errors.OutOfResources: {error}")

    def say_network(self) -> None:
        """NCCL's lines: RDMA where the named device is there, sockets otherwise."""
        host = os.environ.get("SGLANG_HOST_IP", "127.0.0.1")
        interface = os.environ.get("NCCL_SOCKET_IFNAME", "lo").lstrip("=")
        self.log.nccl("NCCL version 2.28.3+cuda13.0")
        device = self.rdma_device()
        if device:
            self.log.nccl(f"NET/IB : Using [0]{device}/RoCE [RO]; OOB {interface}:{host}<0>")
        else:
            self.log.nccl("NET/IB : No device found.")
            self.log.nccl(f"NET/Socket : Using [0]{interface}:{host}<0>")
        self.log.nccl(f"Using network {'IB' if device else 'Socket'}")
        self.log.nccl(f"ncclCommInitRank comm 0x0 rank {self.told.rank} nranks {self.told.nodes} - Init COMPLETE")

    def rdma_device(self) -> str | None:
        """The first named HCA that this host has; its name is only checked where the host describes its devices."""
        named = [name for name in os.environ.get("NCCL_IB_HCA", "").lstrip("=").split(",") if name]
        described = Path(self.settings.sysfs) / "class" / "infiniband"
        if not any(Path("/dev/infiniband").glob("uverbs*")):
            return None
        there = [name for name in named if not described.is_dir() or (described / name.partition(":")[0]).is_dir()]
        return there[0] if there else None

    def reach(self, phase: str) -> None:
        """Wait as long as the rank is held at this phase, then play the fault that was ordered for it."""
        while self.settings.hold and held(Path(self.settings.hold)) == phase:
            time.sleep(HELD_POLL)
        if self.gang.silent:  # a hang that was ordered while it started
            threading.Event().wait()
        if self.settings.die and self.settings.die.phase == phase:
            self.die(self.settings.die)
        if self.settings.hang and self.settings.hang.phase == phase:
            self.hang(self.settings.hang)

    def die(self, fault: Fault) -> None:
        """End at once with the ordered exit code."""
        self.log.scheduler(f"Scheduler hit an exception: RuntimeError: the stand-in was told to die at {fault.phase}")
        os._exit(fault.code)

    def hang(self, fault: Fault) -> None:
        """Take part in nothing more; before readiness this never returns."""
        self.log.scheduler(f"The stand-in was told to hang at {fault.phase}")
        self.gang.silent = True
        if fault.phase not in ("ready", AFTER):
            threading.Event().wait()

    def lost(self, why: str) -> None:
        """Another rank is gone: what gloo says then, and the end of this rank."""
        self.fall(f"RuntimeError: [gloo/transport/tcp/pair.cc] {why}")

    def fall(self, why: str) -> None:
        """The scheduler's exception and what follows from it; never returns."""
        if not self.falling.acquire(blocking=False):
            threading.Event().wait()
        self.log.scheduler(f"Scheduler hit an exception: Traceback (most recent call last):\n{why}")
        if self.up and self.told.rank == 0:
            self.log.main("SIGQUIT received. signum=None, frame=None. It usually means one child failed.")
            self.rest()
        else:
            self.log.main("Received sigquit from a child process. It usually means the child failed.")
        kill_itself()

    def rest(self) -> None:
        """What rank 0 does before its end; its scheduler, and with it the other ranks, goes first."""
        time.sleep(SCHEDULER_GOES * self.settings.death_seconds)
        self.gang.close()
        time.sleep((1 - SCHEDULER_GOES) * self.settings.death_seconds)

    def leave_when_asked(self) -> None:
        """Rank 0's answer to SIGTERM: a look every few seconds, then the end when no request is left."""
        signal.signal(signal.SIGTERM, lambda *_: self.leaving.set())

    def drained(self, remaining: int) -> bool:
        """Say how many requests are left; True when it is time to go."""
        self.log.main(f"Gracefully exiting... Remaining number of requests {remaining}.")
        return remaining == 0


def held(file: Path) -> str:
    """The phase that the file names; empty where it is not there."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def kill_itself() -> None:
    """SIGKILL to the own process; as PID 1 of a container that does nothing, and the exit code is 0, as SGLang's is."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    os._exit(0)
