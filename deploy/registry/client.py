"""The only home of requests: HTTP to one registry, with its login, retries and trust. Knows no manifest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from deploy import __version__
from deploy.errors import CutError, RegistryError
from deploy.registry.authorization import Ask, Authorization
from deploy.registry.call import Body, Call
from deploy.registry.challenge import challenge
from deploy.registry.credentials import login
from deploy.registry.failure import refused
from deploy.registry.name import HUB
from deploy.registry.patience import AGAIN, Patience, Tries, retry_after
from deploy.registry.trust import authorities, context, is_loopback

REDIRECTS = (301, 302, 303, 307, 308)
HOPS = 5
SAID = 4096
"""Bytes of a refusal that are read."""


class Answer:
    """Status, headers and a body that is read as it comes. A context manager."""

    def __init__(self, response: requests.Response, what: str) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = response.url
        self._response, self._what = response, what

    def read(self, most: int) -> bytes:
        """At most so many bytes, b"" at the end. Raises CutError where the connection ends before the body."""
        with _translated(self._what):
            piece: bytes = self._response.raw.read(most, decode_content=False)
            return piece

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Registry:
    """A registry with its connections and login. A context manager, for one thread at a time."""

    def __init__(self, host: str, patience: Patience | None = None) -> None:
        self.host = host
        self.patience = patience or Patience()
        folder = authorities(host)
        plain = is_loopback(host) and folder is None
        self.origin = f"{'http' if plain else 'https'}://{'registry-1.docker.io' if host == HUB else host}"
        # Certificates of this registry speak for no other host.
        self._own = _session(folder)
        self._authorization = Authorization(cache(lambda: login(host)), self._token)

    @cached_property
    def _others(self) -> requests.Session:
        """Made where a registry sends to another host: reading the system's authorities takes its time."""
        return _session(None)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._own.close()
        if "_others" in vars(self):
            self._others.close()

    def ask(self, call: Call) -> Answer:
        """The registry's answer, one of those expected. Raises RegistryError; CutError only where it is asked once."""
        if not call.again:
            return self._asked(call)
        tries = Tries(self.patience)
        while True:
            try:
                return self._asked(call)
            except CutError as error:
                tries.after(error)

    def _asked(self, call: Call) -> Answer:
        """One try. Raises CutError where another may do better, RegistryError where none will."""
        answer = self._authorized(call)
        if answer.status in call.expected:
            return answer
        with answer:
            trouble = refused(call.what, answer.status, answer.read(SAID))
        if answer.status in AGAIN:
            raise CutError(trouble.message, trouble.hint, retry_after(answer.headers, time.time()))
        raise trouble

    def _authorized(self, call: Call) -> Answer:
        """With the login that is known so far, and with a fresh one where that is refused."""
        answer = self._followed(call)
        # What another host asks for, where a redirect led, is not for this registry's login.
        own = answer.status == 401 and self._is_own(answer.url)
        asked = challenge(answer.headers.get("WWW-Authenticate", "")) if own else None
        if asked is None:
            return answer
        answer.close()
        self._authorization.renew(asked, call.scopes)
        return self._followed(call)

    def _followed(self, call: Call) -> Answer:
        """The answer at the end of its redirects; only reads are redirected."""
        url = urljoin(f"{self.origin}/v2/", call.url)
        for _ in range(HOPS):
            answer = self._sent(call, url)
            if answer.status not in REDIRECTS or call.method not in ("GET", "HEAD"):
                return answer
            answer.close()
            url = urljoin(url, answer.headers.get("Location", ""))
        raise RegistryError(f"{call.what}: the registry redirects in a circle", "see the registry's log")

    def _sent(self, call: Call, url: str) -> Answer:
        """One request. The login goes to the registry alone, wherever it sends its clients."""
        own = self._is_own(url)
        if urlsplit(url).scheme != "https" and self.origin.startswith("https"):
            raise RegistryError(f"{call.what}: the registry sends to an address without TLS", "use another registry")
        login = self._authorization.header(call.scopes) if own else ""
        headers = {**call.headers, **({"Authorization": login} if login else {})}
        session = self._own if own else self._others
        with _translated(call.what):
            response = session.request(
                call.method,
                url,
                headers=headers,
                data=call.body,
                stream=True,
                allow_redirects=False,
                timeout=self._timeout(call),
            )
        return Answer(response, call.what)

    def _is_own(self, url: str) -> bool:
        return _origin(url) == _origin(self.origin)

    def _timeout(self, call: Call) -> tuple[float, float]:
        """(until connected, until it answers), in seconds. While a body is sent the first one holds for each piece."""
        patience = self.patience
        return (patience.read, patience.finish) if isinstance(call.body, Body) else (patience.connect, patience.read)

    def _token(self, ask: Ask) -> bytes:
        """What a token server says. Raises RegistryError; CutError where it may do better later."""
        what = f"logging in to {self.host}"
        session = self._own if self._is_own(ask.url) else self._others
        with _translated(what):
            response = session.request(
                "POST" if ask.form else "GET",
                ask.url,
                headers=dict(ask.headers),
                data=dict(ask.form) or None,
                allow_redirects=False,
                timeout=(self.patience.connect, self.patience.read),
            )
        if response.status_code in AGAIN:
            raise CutError(f"{what}: its token server answered {response.status_code}", "try again later")
        if response.status_code != 200:
            raise refused(what, response.status_code, response.content[:SAID])
        return response.content


def _session(folder: Path | None) -> requests.Session:
    """Without cookies, without ~/.netrc, without retries of its own, and with nothing unpacked under way."""
    session = requests.Session()
    session.mount("https://", _Trusting(folder))
    session.auth = lambda request: request
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.headers.update({"User-Agent": f"sglang-spark/{__version__}", "Accept-Encoding": "identity"})
    return session


class _Trusting(HTTPAdapter):
    """Trusts the system's authorities, and those of a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._context = context(folder)
        super().__init__()

    def init_poolmanager(self, *words: Any, **named: Any) -> None:
        super().init_poolmanager(*words, **named, ssl_context=self._context)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """What the libraries raise leaves as a RegistryError that says what was being done."""
    try:
        yield
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        hint = "put its authority into /etc/docker/certs.d/HOST/ca.crt; plain HTTP is for registries on loopback only"
        raise RegistryError(f"{what}: no TLS with the registry: {_reason(error)}", hint) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise RegistryError(f"{what}: no address: {error}", "is the registry's name right?") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        hint = "is its name right, and does it answer from this machine? The same command goes on where it stopped"
        raise CutError(f"{what}: the connection to the registry failed: {_reason(error)}", hint) from None


def _reason(error: BaseException) -> str:
    """The innermost words: the libraries wrap them several times."""
    inner = error.args[0] if error.args else error
    deeper = getattr(inner, "reason", None) or (inner if isinstance(inner, BaseException) else None)
    if isinstance(deeper, BaseException) and deeper is not error:
        return _reason(deeper)
    return str(error.args[-1] if error.args else error) or type(error).__name__
