"""HTTP/1.1 from bytes and the times at which they came: status, and the body in the pieces of its sender. Pure.

It is read after the last byte: taking a stream with `http.client` costs about twice the CPU time a chunk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

END = b"\r\n"


@dataclass(frozen=True)
class Framed:
    """Status, and the pieces of the body: HTTP chunks where there are any, else as they were received.

    `stamps` says when the last byte of each piece came. `whole` is false where the sender announced more.
    """

    status: int
    stamps: tuple[float, ...]
    pieces: tuple[bytes, ...]
    whole: bool


def framed(stamps: Sequence[float], received: Sequence[bytes]) -> Framed | None:
    """The answer that was received, or None where its head is not whole. Raises ValueError for what is no HTTP."""
    data, ends = b"".join(received), list(accumulate(map(len, received)))
    head, found, _ = data.partition(END * 2)
    if not found:
        return None
    status, headers, start = _status(head), _headers(head), len(head) + 4
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        spans = list(_chunks(data, start))
        whole = bool(spans) and spans[-1] is None
    else:
        spans = [(max(start, end - len(piece)), end) for piece, end in zip(received, ends, strict=True) if end > start]
        whole = len(data) - start >= int(headers.get(b"content-length", 0))
    kept = [span for span in spans if span]
    times = tuple(stamps[bisect_left(ends, end)] for _, end in kept)
    return Framed(status, times, tuple(data[begin:end] for begin, end in kept), whole)


def _status(head: bytes) -> int:
    protocol, status = head.split(None, 2)[:2]
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError(f"{protocol!r} is no HTTP/1")
    return int(status)


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(END)[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _chunks(data: bytes, start: int) -> Iterator[tuple[int, int] | None]:
    """Begin and end of each whole chunk; None for the last, which says that there are no more."""
    while (line := data.find(END, start)) >= 0:
        size, begin = int(data[start:line].partition(b";")[0], 16), line + 2
        if size == 0:
            yield None
            return
        if begin + size > len(data):
            return
        yield begin, begin + size
        start = begin + size + 2
