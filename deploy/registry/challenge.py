"""What a registry's 401 asks for, and the tokens that answer it. Pure; fetches nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import RegistryError

_PART = re.compile(r'([A-Za-z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
LEAST = 60.0
"""Seconds that a token is good for where nothing else is said."""


@dataclass(frozen=True)
class Challenge:
    """`scheme` is basic or bearer; the rest is where a token is to be had."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


@dataclass(frozen=True)
class Token:
    """`until`: on the monotonic clock, in seconds."""

    value: str
    until: float

    def __repr__(self) -> str:
        return f"Token(until={self.until})"


def challenge(header: str) -> Challenge | None:
    """A WWW-Authenticate header, None where it asks for neither Basic nor Bearer."""
    scheme, _, rest = header.strip().partition(" ")
    parts = {name.lower(): quoted or plain for name, quoted, plain in _PART.findall(rest)}
    if scheme.lower() == "basic":
        return Challenge("basic")
    if scheme.lower() == "bearer" and parts.get("realm"):
        return Challenge("bearer", parts["realm"], parts.get("service", ""), parts.get("scope", ""))
    return None


def scopes(asked: tuple[str, ...], found: Challenge) -> tuple[str, ...]:
    """What a token is asked for: what the call needs, or what the registry names where the call needs nothing."""
    return asked or tuple(found.scope.split())


def token(body: bytes, where: str, now: float) -> Token:
    """A token server's answer. Raises RegistryError."""
    try:
        said: Mapping[str, object] = json.loads(body)
        value = said.get("token") or said.get("access_token")
        seconds = float(str(said.get("expires_in") or LEAST))
    except (ValueError, AttributeError, TypeError):
        value = None
    if not isinstance(value, str):
        raise RegistryError(f"{where} gave no token", "is this the address of a registry?")
    # Used up a little early, so that none expires under way.
    return Token(value, now + seconds * 0.8)
