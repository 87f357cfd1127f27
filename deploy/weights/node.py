"""A node's part: `python3 -m deploy.weights.node look|relay|manifest|download|verify|prune`, sent over SSH.

The first line of standard input is the order, as JSON, and standard input is the lifeline from then on.
Standard output is lines of JSON alone; the last one of a failure is {"error", "hint", "passing"}.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deploy.errors import DeployError, HubError
from deploy.inside.lifeline import Lifeline
from deploy.weights import checksum, handshake, pruning
from deploy.weights.cache import ModelCache
from deploy.weights.hub import Hub
from deploy.weights.manifest import File, Manifest, manifest
from deploy.weights.receiving import Receiver, Upstream
from deploy.weights.sending import Sender

CUT_OFF = 3
SAY_EVERY = 0.5
Order = Mapping[str, Any]
Line = Mapping[str, Any]


def look(order: Order) -> Iterator[Line]:
    """All that is here of the model."""
    yield _cache(order).look(order["revision"])


def describe(order: Order) -> Iterator[Line]:
    """What the hub says that a revision consists of."""
    hub = Hub(order["token"], order["patience"])
    yield hub.manifest(order["repository"], order["revision"]).as_json()


def download(order: Order) -> Iterator[Line]:
    """Files from the hub; the relay beside it says how far they are."""
    hub = Hub(order["token"], order["patience"])
    for path in hub.download(_cache(order), manifest(order["manifest"]), order["streams"]):
        yield {"file": path}


def relay(order: Order) -> Iterator[Line]:
    """Receive what is missing and hand on what is here: {"have"} on the way, {"whole"} once the model is in place."""
    cache, wanted = _cache(order), manifest(order["manifest"])
    failed: queue.SimpleQueue[Exception] = queue.SimpleQueue()
    with cache.lock(), handshake.listening(order["address"], order["port"]) as server:
        cache.begin(wanted, order["revision"])
        _discard(cache, wanted, order["bad"])
        sender = Sender(cache, wanted, order["key"])
        threading.Thread(target=sender.serve, args=(server,), daemon=True).start()
        if order["upstream"]:
            address, port = order["upstream"]
            Receiver(cache, wanted, Upstream(address, port, order["key"]), failed.put).start()
        while not all(cache.whole(one, wanted.commit) for one in wanted.blobs):
            yield _have(cache, wanted)
            _pause(failed)
        cache.place(wanted, order["revision"])
        cache.release(wanted)
        yield _have(cache, wanted)
        yield {"whole": True}
        # Others may still read here; the end is the controller's to say.
        threading.Event().wait()


def _have(cache: ModelCache, wanted: Manifest) -> Line:
    return {"have": sum(cache.present(one, wanted.commit) for one in wanted.blobs)}


def _pause(failed: queue.SimpleQueue[Exception]) -> None:
    """Raises what failed meanwhile."""
    try:
        error = failed.get(timeout=SAY_EVERY)
    except queue.Empty:
        return
    raise error


def _discard(cache: ModelCache, wanted: Manifest, bad: list[str]) -> None:
    """Remove files whose content was found wrong, so that they are fetched anew."""
    for one in wanted.files:
        plain = cache.snapshots / wanted.commit / one.path
        if one.checksum in bad:
            (cache.blobs / one.checksum).unlink(missing_ok=True)
            if not plain.is_symlink():
                plain.unlink(missing_ok=True)


def verify(order: Order) -> Iterator[Line]:
    """Read every file and hold it to its checksum: {"have"} on the way, then {"missing", "bad"}, as checksums."""
    cache, wanted = _cache(order), manifest(order["manifest"])
    here = {one: cache.whole(one, wanted.commit) for one in wanted.blobs}
    there = {one: path for one, path in here.items() if path}
    have, bad = 0, []
    with ThreadPoolExecutor(order["streams"]) as pool:
        for file, right in pool.map(lambda one: (one, checksum.right(one, there[one])), there):
            have += file.size
            bad += [] if right else [file.checksum]
            yield {"have": have}
    unlinked = [one.checksum for one in wanted.files if _whole(here, one) and not _linked(cache, wanted.commit, one)]
    missing = [one.checksum for one, path in here.items() if not path]
    yield {"missing": missing, "bad": bad, "unlinked": unlinked}


def _whole(here: Mapping[File, Path | None], file: File) -> bool:
    return any(path for one, path in here.items() if one.checksum == file.checksum)


def _linked(cache: ModelCache, commit: str, file: File) -> bool:
    path = cache.snapshots / commit / file.path
    return path.is_file() and path.stat().st_size == file.size


def prune(order: Order) -> Iterator[Line]:
    """Remove what `keep`, a commit or an empty string, does not need; {"removed"}, by path, and {"bytes"}."""
    cache = _cache(order)
    if not cache.folder.is_dir():
        yield {"removed": [], "bytes": 0}
        return
    with cache.lock():
        found = pruning.unneeded(cache, order["keep"])
        if not order["dry"]:
            pruning.remove(cache, found, whole=not order["keep"])
        yield {"removed": [str(one.path) for one in found], "bytes": sum(one.size for one in found)}


def _cache(order: Order) -> ModelCache:
    return ModelCache(order["hub"], order["repository"])


ROLES: Mapping[str, Callable[[Order], Iterator[Line]]] = {
    "look": look,
    "relay": relay,
    "manifest": describe,
    "download": download,
    "verify": verify,
    "prune": prune,
}


def main(argv: list[str]) -> int:
    """Play a role to its end, or until nobody feeds the lifeline any more."""
    said = os.fdopen(os.dup(1), "w", buffering=1)
    # What libraries print does not belong among the lines.
    os.dup2(2, 1)
    lifeline = Lifeline()
    order = json.loads(lifeline.line())
    lifeline.hold(lambda _: os._exit(CUT_OFF))
    code, last = 0, None
    try:
        for line in ROLES[argv[1]](order):
            said.write(json.dumps(line) + "\n")
    except DeployError as error:
        code, last = error.exit_code, _last(error.message, error.hint, passing=isinstance(error, HubError))
    except OSError as error:
        code, last = 1, _of_the_system(error)
    except Exception:
        code = 1
        traceback.print_exc()
    if last:
        said.write(json.dumps(last) + "\n")
    said.flush()
    # Other threads may be in the middle of a file, which a later run goes on with.
    os._exit(code)


def _last(error: str, hint: str, *, passing: bool = False) -> Line:
    """`passing`: the hub is away for the moment, and what it has need not be asked where it is known."""
    return {"error": error, "hint": hint, "passing": passing}


def _of_the_system(error: OSError) -> Line:
    """What the disk or the network of this node refused."""
    hints = {
        28: "make room there, or move mounts.huggingface; then run it again",
        13: "give the folder to the SSH user",
    }
    where = f": {error.filename}" if error.filename else ""
    text = f"{(error.strerror or str(error)).lower()}{where}"
    return _last(text, hints.get(error.errno or 0, "see the node's disk and network; then run it again"))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
