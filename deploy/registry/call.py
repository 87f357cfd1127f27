"""What a registry is asked: a call, and the body that goes with it. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from deploy.errors import RegistryError

PIECE = 1 << 18
"""Bytes that are read or sent in one go; so many are lost where a connection breaks."""


@dataclass(frozen=True)
class Body:
    """What is sent, of a size that is known before; opened anew for every try."""

    size: int
    opened: Callable[[], Iterator[bytes]]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        for piece in self.opened():
            left -= len(piece)
            # A piece is sent within one timeout, or not at all.
            yield from (piece[at : at + PIECE] for at in range(0, len(piece), PIECE))
        if left:
            raise RegistryError(f"what was to be sent is {abs(left)} bytes too {'short' if left > 0 else 'long'}", "")


@dataclass(frozen=True)
class Call:
    """One request. `url`: below the registry's address, or a whole one that it gave. `what` is for errors.

    `again`: whether it is sent again where the connection or the registry fails.
    """

    method: str
    url: str
    what: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    expected: tuple[int, ...] = (200,)
    again: bool = True
