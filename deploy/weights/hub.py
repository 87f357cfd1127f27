"""The home of huggingface_hub: what a model consists of, and its files from the hub. Runs inside the image.

What comes is checked before anybody can take it for a file of the model: huggingface_hub looks at its size alone.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, TypeVar

from deploy.errors import HubError, WeightsError
from deploy.weights import checksum
from deploy.weights.cache import ModelCache
from deploy.weights.manifest import File, Manifest, manifest, needed

T = TypeVar("T")
TRIES = 2
"""How often a file may come with a wrong checksum."""
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class Hub:
    """`token` may be empty; `patience`: seconds that it may fail without progress; `endpoint`: by default that which
    HF_ENDPOINT names."""

    token: str
    patience: float
    endpoint: str | None = None

    def manifest(self, repository: str, revision: str) -> Manifest:
        """What a revision consists of. Raises WeightsError."""
        from huggingface_hub import HfApi

        hub = HfApi(self.endpoint, self.token or False)
        info = self._patiently(lambda: hub.model_info(repository, revision=revision, files_metadata=True))
        files = [_file(one) for one in info.siblings or ()]
        told = Manifest(repository, str(info.sha), needed(files))
        try:
            return manifest(told.as_json())
        except ValueError as error:
            raise WeightsError(f"the hub's list of {repository} cannot be right: {error}") from None

    def download(self, cache: ModelCache, wanted: Manifest, streams: int) -> Iterator[str]:
        """Fetch what is missing, several files at a time; each one's path once it is right. Raises WeightsError."""
        missing = [one for one in wanted.blobs if not cache.whole(one, wanted.commit)]
        pool = ThreadPoolExecutor(streams)
        try:
            running = {pool.submit(self._fetch, cache, wanted, one): one for one in missing}
            for done in as_completed(running):
                done.result()
                yield running[done].path
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(cache.staging, ignore_errors=True)

    def _fetch(self, cache: ModelCache, wanted: Manifest, file: File) -> None:
        staged = cache.staged / file.checksum
        for _ in range(TRIES):
            self._patiently(lambda: self._one(cache, wanted, file), lambda: cache.present(file, wanted.commit))
            if staged.is_file() and checksum.right(file, staged):
                cache.keep(file, staged)
                return
            staged.unlink(missing_ok=True)
            (cache.staging / cache.folder.name / "snapshots" / wanted.commit / file.path).unlink(missing_ok=True)
        what = f"{file.path}: what the hub sends has not the checksum that it tells"
        raise WeightsError(what, "try again later; a proxy between may change what it passes on")

    def _one(self, cache: ModelCache, wanted: Manifest, file: File) -> None:
        from huggingface_hub import hf_hub_download

        place = {"cache_dir": cache.staging, "token": self.token or False, "endpoint": self.endpoint}
        hf_hub_download(wanted.repository, file.path, revision=wanted.commit, **place)

    def _patiently(self, ask: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Ask again while the hub has a passing trouble. Raises WeightsError after its time without progress."""
        until, before, wait = time.monotonic() + self.patience, progress(), 1.0
        while True:
            try:
                return ask()
            except (OSError, ValueError) as error:
                if (now := progress()) > before:
                    until, before, wait = time.monotonic() + self.patience, now, 1.0
                pause = min(max(wait, _asked_to_wait(error)), _LONGEST_WAIT) * random.uniform(1, 1.2)
                if not _passing(error) or time.monotonic() + pause > until:
                    raise _told(error) from error
                time.sleep(pause)
                wait *= 2


def _file(one: Any) -> File:
    """A large file has a checksum of its content, a small one that of its blob in git."""
    lfs = one.lfs
    return File(one.rfilename, one.size or 0, lfs.sha256 if lfs else one.blob_id)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _status(error: BaseException) -> int:
    """The HTTP status that an error came from, or 0."""
    answers = (getattr(one, "response", None) for one in _chain(error))
    return next((int(one.status_code) for one in answers if one is not None), 0)


def _asked_to_wait(error: BaseException) -> float:
    answers = (getattr(one, "response", None) for one in _chain(error))
    text = next((one.headers.get("Retry-After", "") for one in answers if one is not None), "")
    return float(text) if text.isdigit() else 0.0


def _passing(error: BaseException) -> bool:
    status = _status(error)
    if status:
        return status in _PASSING
    kinds = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    return bool(kinds & {"ConnectionError", "Timeout", "TimeoutError", "ChunkedEncodingError", "TransportError"}) or (
        "Consistency check failed" in str(error)
    )


def _told(error: Exception) -> WeightsError:
    """What a failure of the hub means, and what mends it."""
    kinds, status = {type(one).__name__ for one in _chain(error)}, _status(error)
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    no_space = next((one for one in _chain(error) if isinstance(one, OSError) and one.errno == 28), None)
    if no_space:
        return WeightsError(
            "no space left on the disk", "make room there, or move mounts.huggingface; then run it again"
        )
    if "GatedRepoError" in kinds or status == 403:
        return WeightsError(
            f"the hub refuses it: {text.rstrip('.')}", "ask for access on the model's page, and give a token (--token)"
        )
    if "RevisionNotFoundError" in kinds:
        return WeightsError("the hub has no such revision of it", "check model.revision")
    if "RepositoryNotFoundError" in kinds or status == 401:
        return WeightsError(
            "the hub knows no such model, or not this token", "check model.path, and the token (--token)"
        )
    if status:
        return HubError(f"the hub fails with HTTP {status}", "try again later; what came is kept")
    last = str(list(_chain(error))[-1]) or text
    return HubError(f"the hub does not answer: {last}", "see that this node reaches it; what came is kept")
