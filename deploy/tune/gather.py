"""Makes few messages of many happenings, without keeping any of them for long."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

from deploy.tune.happening import Happening

GATHER = 0.03
"""Seconds that happenings are gathered for before they travel together."""
_Made = queue.SimpleQueue[Happening | BaseException | None]


def gathered(happenings: Iterator[Happening]) -> Iterator[list[Happening]]:
    """The same in lists, none of them older than GATHER. Another thread plays, so that nothing waits for the next."""
    made: _Made = queue.SimpleQueue()
    threading.Thread(target=_played, args=(happenings, made), daemon=True).start()
    while True:
        some = [made.get()]
        time.sleep(GATHER)
        with contextlib.suppress(queue.Empty):
            while True:
                some.append(made.get_nowait())
        told = [one for one in some if one is not None and not isinstance(one, BaseException)]
        if told:
            yield told
        for one in some:
            if isinstance(one, BaseException):
                raise one
            if one is None:
                return


def _played(happenings: Iterator[Happening], made: _Made) -> None:
    try:
        for happening in happenings:
            made.put(happening)
        made.put(None)
    except BaseException as error:
        made.put(error)
