"""One repository of a registry: manifests and blobs, checked as they come and go. Decides nothing about content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from deploy.errors import CutError, RegistryError
from deploy.registry import manifest as manifests
from deploy.registry.blob import Blob
from deploy.registry.call import PIECE, Body, Call
from deploy.registry.client import Answer, Registry
from deploy.registry.manifest import Descriptor, Manifest, sha256
from deploy.registry.name import DIGEST
from deploy.registry.patience import Tries

Opened = Callable[[], Iterator[bytes]]
"""Opens content; it is called anew for every try."""
BYTES = {"Content-Type": "application/octet-stream"}
MOUNTED = (201, 202, 401, 403, 404, 405)
LARGEST = 4 << 20
"""Bytes of a manifest or a list; registries take no larger ones."""


class Repository:
    """REPOSITORY of a registry. What it gives is what the digests say; what it takes is there whole, or not at all."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry, self.name = registry, name
        self._pull = (f"repository:{name}:pull",)
        self._push = (f"repository:{name}:pull,push",)

    def __str__(self) -> str:
        return f"{self.registry.host}/{self.name}"

    def digest(self, reference: str) -> str:
        """The digest under a tag or digest, "" where there is none. Raises RegistryError."""
        with self._manifest("HEAD", reference, (200, 404)) as answer:
            if answer.status == 404:
                return ""
            said = answer.headers.get("Docker-Content-Digest", "")
        return said if DIGEST.fullmatch(said) else self.manifest(reference).digest

    def manifest(self, reference: str) -> Manifest:
        """The manifest or index under a tag or digest; what it says of itself is held to. Raises RegistryError."""
        what = self._named(reference)
        with self._manifest("GET", reference, (200,)) as answer:
            raw = _whole(answer, what)
            found = manifests.read(raw, answer.headers.get("Content-Type", ""), what)
            said = answer.headers.get("Docker-Content-Digest", "")
        wanted = reference if DIGEST.fullmatch(reference) else said
        if wanted and found.digest != wanted:
            raise RegistryError(f"{what}: what came is {found.digest}, not {wanted}", "the registry's copy is broken")
        return found

    def blob(self, digest: str, size: int = -1, start: int = 0) -> Blob:
        """A blob, from a byte on: a raw stream that goes on where it is cut, and is checked. Nothing is asked yet."""
        return Blob(self.registry, self._get(digest), digest, size, start)

    def content(self, descriptor: Descriptor) -> bytes:
        """A small blob as a whole, such as a config. Raises RegistryError."""
        return b"".join(self.blob(descriptor.digest, descriptor.size).pieces())

    def has(self, digest: str) -> bool:
        """Whether the blob is in this repository. Raises RegistryError."""
        call = Call("HEAD", self._blobs(digest), f"looking for {digest} in {self}", self._pull, expected=(200, 404))
        with self.registry.ask(call) as answer:
            return answer.status == 200

    def mount(self, digest: str, source: str) -> bool:
        """Have a blob of another repository of the same registry; False where the registry does not do it."""
        url = f"{self._blobs('uploads/')}?{urlencode({'mount': digest, 'from': source})}"
        scopes = (*self._push, f"repository:{source}:pull")
        # A login that may not read the source, or a registry without mounts: what cannot be mounted can be sent.
        call = Call("POST", url, f"mounting {digest} from {source} into {self}", scopes, expected=MOUNTED)
        with self.registry.ask(call) as answer:
            if answer.status != 202:
                return answer.status == 201
        # 202 opened an upload in its place, which nobody is going to use.
        with suppress(RegistryError):
            self.registry.ask(self._upload("DELETE", self._location(answer), "", (200, 202, 204, 404, 405))).close()
        return False

    def upload(self, content: Descriptor, opened: Opened) -> None:
        """Send a blob in one request, anew where that breaks: registries drop what was cut. Raises RegistryError."""
        tries = Tries(self.registry.patience)
        while True:
            try:
                return self._put(content, self._started(content), opened)
            except CutError as error:
                hint = f"{error.hint}; GHCR ends an upload after 10 minutes"
                tries.after(CutError(f"{error.message} ({content.size / 1e6:.1f} MB)", hint, error.wait))

    def put(self, raw: bytes, media_type: str, reference: str) -> str:
        """Send a manifest under a tag or its digest; returns the digest. Raises RegistryError."""
        call = Call(
            "PUT",
            f"{self.name}/manifests/{reference}",
            f"pushing {self._named(reference)}",
            self._push,
            {"Content-Type": media_type},
            raw,
            (200, 201, 202),
        )
        with self.registry.ask(call) as answer:
            said = answer.headers.get("Docker-Content-Digest", "")
        if said and said != sha256(raw):
            raise RegistryError(f"{call.what}: the registry says it got {said}, not {sha256(raw)}", "push it again")
        return sha256(raw)

    def tags(self) -> list[str]:
        """All tags, in the registry's order. Raises RegistryError."""
        return [str(tag) for page in self._pages(f"{self.name}/tags/list") for tag in page.get("tags") or []]

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest, by the API or, where there is none, by the tag for it."""
        pages = list(self._pages(f"{self.name}/referrers/{digest}", manifests.OCI_INDEX))
        if pages:
            return [one for page in pages for one in page.get("manifests") or []]
        tag = digest.replace(":", "-")
        return list(self.manifest(tag).content.get("manifests") or []) if self.digest(tag) else []

    def _started(self, content: Descriptor) -> str:
        """The address of a new upload."""
        call = self._upload("POST", self._blobs("uploads/"), content.digest, (202,))
        with self.registry.ask(call) as answer:
            return self._location(answer)

    def _put(self, content: Descriptor, url: str, opened: Opened) -> None:
        """A whole blob in one PUT without a Content-Range, which GHCR would take for a piece of 4 MiB at most."""
        whole = f"{url}{'&' if '?' in url else '?'}{urlencode({'digest': content.digest})}"
        body = Body(content.size, opened) if content.size else b""
        call = self._upload("PUT", whole, content.digest, (201, 204))
        with self.registry.ask(replace(call, headers=BYTES, body=body, again=False)) as answer:
            said = answer.headers.get("Docker-Content-Digest", "")
        if said and said != content.digest:
            raise RegistryError(f"{call.what}: the registry says it got {said}", "push it again")

    def _pages(self, url: str, kind: str = "") -> Iterator[dict[str, Any]]:
        """Each page of a list; none where the registry has no such list, or something other than that kind there."""
        none = (404, 400, 405, 406) if kind else (404,)
        while url:
            call = Call("GET", url, f"reading {url} of {self.registry.host}", self._pull, expected=(200, *none))
            with self.registry.ask(call) as answer:
                if answer.status in none or kind not in answer.headers.get("Content-Type", ""):
                    return
                raw = _whole(answer, call.what)
                following = re.match(r'<([^>]+)>;\s*rel="?next', answer.headers.get("Link", ""))
                url = urljoin(answer.url, following[1]) if following else ""
            yield _object(raw, call.what)

    def _manifest(self, method: str, reference: str, expected: tuple[int, ...]) -> Answer:
        headers = {"Accept": ", ".join(manifests.KNOWN)}
        url = f"{self.name}/manifests/{reference}"
        return self.registry.ask(Call(method, url, self._named(reference), self._pull, headers, expected=expected))

    def _get(self, digest: str) -> Call:
        return Call("GET", self._blobs(digest), f"reading {digest} of {self}", self._pull)

    def _upload(self, method: str, url: str, digest: str, expected: tuple[int, ...]) -> Call:
        return Call(method, url, f"sending {digest} to {self}", self._push, expected=expected)

    def _blobs(self, path: str) -> str:
        return f"{self.name}/blobs/{path}"

    def _named(self, reference: str) -> str:
        return f"{self}{'@' if ':' in reference else ':'}{reference}"

    def _location(self, answer: Answer) -> str:
        """Where an upload goes on; registries may name another host."""
        if not (said := answer.headers.get("Location", "")):
            raise RegistryError(f"{self}: the registry named no place for an upload", "is this a registry?")
        return urljoin(answer.url, said)


def of_bytes(content: bytes) -> Opened:
    """Content that is at hand, to be sent."""
    return lambda: iter((content,))


def of_file(path: Path) -> Opened:
    """A file's content, to be sent."""

    def opened() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return opened


def _whole(answer: Answer, what: str) -> bytes:
    """The body of a small answer."""
    pieces = []
    while piece := answer.read(LARGEST + 1):
        pieces.append(piece)
        if sum(map(len, pieces)) > LARGEST:
            raise RegistryError(f"{what}: the answer is larger than any manifest", "is this the address of a registry?")
    return b"".join(pieces)


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RegistryError(f"{what}: the answer is no JSON object", "is this the address of a registry?")
    return found
