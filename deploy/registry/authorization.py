"""The Authorization header that a registry's requests carry, renewed when it ends. Sends nothing itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from deploy.errors import RegistryError
from deploy.registry.challenge import Challenge, Token, scopes, token
from deploy.registry.credentials import Login
from deploy.registry.trust import is_loopback


@dataclass(frozen=True)
class Ask:
    """A request to a token server: a GET, or a POST where there is a form."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)


class Authorization:
    """What is known of a registry's login: `kept` finds it, `fetch` asks a token server for a body."""

    def __init__(self, kept: Callable[[], Login | None], fetch: Callable[[Ask], bytes]) -> None:
        self._kept, self._fetch = kept, fetch
        self._asked: Challenge | None = None
        self._tokens: dict[tuple[str, ...], Token] = {}

    def header(self, wanted: tuple[str, ...]) -> str:
        """For a call with these scopes; "" as long as the registry has asked for none."""
        if self._asked is None:
            return ""
        if self._asked.scheme == "basic":
            return basic(self._kept())
        held = self._tokens.get(wanted)
        if held is None or held.until <= time.monotonic():
            held = self._tokens[wanted] = self._token(self._asked, wanted)
        return f"Bearer {held.value}"

    def renew(self, asked: Challenge, wanted: tuple[str, ...]) -> None:
        """The registry refused what it got, and asks for this."""
        self._asked = asked
        self._tokens.pop(wanted, None)

    def _token(self, asked: Challenge, wanted: tuple[str, ...]) -> Token:
        _check(asked.realm)
        return token(self._fetch(question(asked, scopes(wanted, asked), self._kept())), asked.realm, time.monotonic())


def question(asked: Challenge, wanted: tuple[str, ...], login: Login | None) -> Ask:
    """What a token server is asked, with the login where there is one."""
    service = [("service", asked.service)] if asked.service else []
    if login and login.identity:
        form = {"grant_type": "refresh_token", "client_id": "sglang-spark", "refresh_token": login.identity}
        return Ask(asked.realm, form={**form, "scope": " ".join(wanted), **dict(service)})
    words = urlencode([*service, *(("scope", one) for one in wanted)])
    joint = "&" if urlsplit(asked.realm).query else "?"
    headers = {"Authorization": basic(login)} if login else {}
    return Ask(f"{asked.realm}{joint}{words}" if words else asked.realm, headers)


def basic(login: Login | None) -> str:
    """The header of a user and a password, "" without."""
    if login is None or not login.user:
        return ""
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _check(realm: str) -> None:
    """A login goes out encrypted, or to this machine. Raises RegistryError."""
    parts = urlsplit(realm)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
        raise RegistryError(f"the registry sends for a token to {realm}, which is not encrypted", "use one with TLS")
