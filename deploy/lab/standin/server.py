"""Where `python3 -m sglang.launch_server` leads in the lab: a stand-in for SGLang's GPU engine, which is not here."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .api import Api
from .arguments import Launch, installed_tree, launch, refused
from .generation import Pace, Scheduler
from .log import Log
from .orders import follow
from .rank import GRACE_POLL, Rank, kill_itself
from .service import Service
from .settings import AFTER, Fault, SettingError, Settings, settings

# SGLang waits this long before its first request, however fast it starts.
WARM_UP = 1.0
BANNER = "This is a stand-in for SGLang's GPU engine, for a lab without GPUs: flags, protocol and parsers are {}'s own."


def main(argv: Sequence[str] | None = None) -> None:
    """Run one rank until it is ended; exit code 2 for a launch line or a setting that is refused."""
    told = launch(sys.argv[1:] if argv is None else argv, installed_tree())
    log = Log(told.tp_rank)
    why = refused(told)
    if why:
        sys.exit(f"AssertionError: {why}")
    try:
        chosen = settings(os.environ, told.rank)
    except SettingError as error:
        log.main(f"error: {error}")
        sys.exit(2)
    log.main(BANNER.format(f"sglang {told.version}"))
    run(told, chosen, log)


def run(told: Launch, chosen: Settings, log: Log) -> None:
    """Start the rank, then serve; never returns."""
    rank = Rank(told, chosen, log)
    if told.rank == 0:
        service = Service(rank, scheduler(rank))
        take_orders(rank, service.scheduler)
        api_ready = threading.Thread(target=load_parsers, daemon=True)
        api_ready.start()
        rank.start()
        api_ready.join()
        serve_head(rank, service)
    take_orders(rank)
    rank.start()
    serve_worker(rank)


def load_parsers() -> None:
    """Import the tree's parsers while the start takes its time."""
    from . import chat  # noqa: F401


def scheduler(rank: Rank) -> Scheduler:
    """Rank 0's scheduler, whose steps all ranks take together."""
    told = rank.told
    most = int(told.args.max_running_requests or (48 if told.eagle else 256))
    longest = told.steps + 1 if told.eagle else 1
    chosen = rank.settings
    pace = Pace(chosen.tokens_per_second, longest, most, chosen.chunk_tokens, chosen.first_token_seconds)
    made = Scheduler(rank.gang.step, pace, rank.log.scheduler)
    made.meet = rank.meet
    return made


def obey(rank: Rank, kind: str, code: int, scheduler: Scheduler | None = None) -> None:
    """Play a fault that was ordered; an empty one ends those that can end."""
    rank.log.main(f"The stand-in was told to: {kind or 'be well'}")
    if kind in ("hang", "die"):
        (rank.die if kind == "die" else rank.hang)(Fault(AFTER, code=code))
    elif scheduler:
        scheduler.wedged, scheduler.garbled = kind == "wedge", kind == "garbage"


def take_orders(rank: Rank, scheduler: Scheduler | None = None) -> None:
    """Begin to look at the file that orders faults."""
    obeyed = partial(obey, rank, scheduler=scheduler)
    arguments = (Path(rank.settings.fault_file), obeyed, rank.log.main)
    threading.Thread(target=follow, args=arguments, daemon=True).start()


def serve_head(rank: Rank, service: Service) -> None:
    """The API: first 503 during the warm-up request, then ready, until SIGTERM or a fault."""
    args, log = rank.told.args, rank.log
    api = bound(rank, args.api_key)
    service.attach(api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    log.main(f"INFO:     Started server process [{os.getpid()}]")
    log.main("INFO:     Application startup complete.")
    log.main(f"INFO:     Uvicorn running on http://{args.host}:{args.port} (Press CTRL+C to quit)")
    rank.leave_when_asked()
    if not args.skip_server_warmup:
        service.generate({"text": "The capital city of France is", "sampling_params": {"max_new_tokens": 8}})
        time.sleep(WARM_UP)
    rank.up = True
    log.main("The server is fired up and ready to roll!")
    rank.reach("ready")
    while True:
        time.sleep(GRACE_POLL)
        if rank.leaving.is_set() and rank.drained(service.scheduler.remaining):
            kill_itself()


def bound(rank: Rank, key: str | None) -> Api:
    """The HTTP server on this rank's address; exit code 1 and uvicorn's words where it cannot be had."""
    address = (str(rank.told.args.host), int(rank.told.args.port))
    try:
        return Api(address, rank.log, key)
    except OSError as error:
        what = f"error while attempting to bind on address {address}: {(error.strerror or '').lower()}"
        rank.log.main(f"ERROR:    [Errno {error.errno}] {what}")
        os._exit(1)


def serve_worker(rank: Rank) -> None:
    """Health alone, always 200, whatever the other ranks do."""
    args = rank.told.args
    api = bound(rank, None)
    api.quiet = True
    for path in ("/ping", "/health", "/health_generate"):
        api.add("GET", path, lambda _: (200, None))
    rank.up = True
    rank.log.main(f"Dummy health check server started in background thread at {args.host}:{args.port}")
    rank.reach("ready")
    api.serve_forever()


if __name__ == "__main__":
    main()
