"""Holds a lock of light hosts as another controller would, and does what its input says: `go NAME`, `lost`, `end`.

Run by tests as a process of its own, so that it can be frozen. Its patience is shorter than the product's.
"""

from __future__ import annotations

import sys
from contextlib import closing

from deploy.cluster.load import load
from deploy.command import Command
from deploy.errors import DeployError
from deploy.remote import held
from deploy.remote.execute import Fleet
from deploy.remote.lock import lock

PATIENCE, QUIET = 5, 2
_CRITICAL = 'mkdir "$HOME/busy" || echo two >> "$HOME/two"; echo "$1" >> "$HOME/done"; sleep "$2"; rmdir "$HOME/busy"'


def say(what: object) -> None:
    print(what, flush=True)


def main(file: str, seconds: str) -> None:
    held.PATIENCE, held.QUIET, held.BEAT_EVERY = PATIENCE, QUIET, 1.0
    with closing(Fleet(load(file).cluster)) as fleet:
        try:
            with lock(fleet, f"`test` {seconds}") as locks:
                say("held")
                for line in sys.stdin:
                    word, _, name = line.strip().partition(" ")
                    if word == "end":
                        return
                    if word == "lost":
                        say(f"lost {sorted(locks.lost())}")
                    else:
                        command = Command(("sh", "-c", _CRITICAL, "sh", name, seconds))
                        results = fleet.each(dict.fromkeys(fleet.ranks, command))
                        say(f"went {[result.code for result in results.values()]}")
        except DeployError as error:
            say(f"refused {error.message!r} {error.hint}")


if __name__ == "__main__":
    main(*sys.argv[1:])
