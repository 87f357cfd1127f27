"""Challenges, tokens and what a token server is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.errors import RegistryError
from deploy.registry.authorization import Ask, Authorization, question
from deploy.registry.challenge import Challenge, challenge, token
from deploy.registry.credentials import Login

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
PULL, PUSH = ("repository:a/b:pull",), ("repository:a/b:pull,push",)
ASKED = Challenge("bearer", "https://auth.io/token", "here")


def server(value: str = "t", **more: object) -> tuple[list[Ask], Callable[[Ask], bytes]]:
    """A token server that keeps what it was asked, and numbers its tokens."""
    asked: list[Ask] = []

    def fetch(ask: Ask) -> bytes:
        asked.append(ask)
        return json.dumps({"token": f"{value}{len(asked)}", **more}).encode()

    return asked, fetch


def test_a_challenge_is_read() -> None:
    found = challenge(HUB)
    assert found == Challenge(
        "bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push"
    )
    assert challenge('Basic realm="x"') == Challenge("basic")
    assert challenge("bearer Realm=https://x/y , service = z") == Challenge("bearer", "https://x/y", "z")


@pytest.mark.parametrize("header", ["", "Negotiate", "Bearer", 'Bearer service="x"'])
def test_a_challenge_that_cannot_be_met_is_none(header: str) -> None:
    assert challenge(header) is None


def test_nothing_is_sent_until_the_registry_asks() -> None:
    asked, fetch = server()
    held = Authorization(lambda: Login("me", "p"), fetch)
    assert held.header(PULL) == ""
    held.renew(Challenge("basic"), PULL)
    assert held.header(PULL) == "Basic bWU6cA=="
    assert asked == []


def test_a_token_is_kept_for_what_it_was_asked_for_and_asked_for_before_a_further_refusal() -> None:
    asked, fetch = server()
    held = Authorization(lambda: None, fetch)
    held.renew(ASKED, PULL)
    assert [held.header(one) for one in (PULL, PULL, PUSH, PULL)] == [
        "Bearer t1",
        "Bearer t1",
        "Bearer t2",
        "Bearer t1",
    ]
    held.renew(ASKED, PULL)
    assert held.header(PULL) == "Bearer t3"
    assert "Authorization" not in asked[0].headers


def test_a_token_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    _, fetch = server(expires_in=100)
    held = Authorization(lambda: None, fetch)
    held.renew(ASKED, PULL)
    assert held.header(PULL) == "Bearer t1"
    now += 79
    assert held.header(PULL) == "Bearer t1"
    now += 2
    assert held.header(PULL) == "Bearer t2"


def test_several_scopes_are_asked_for_each_on_its_own() -> None:
    ask = question(ASKED, (*PUSH, "repository:c:pull"), Login("me", "p"))
    assert parse_qs(urlsplit(ask.url).query) == {"service": ["here"], "scope": [*PUSH, "repository:c:pull"]}
    assert ask.headers == {"Authorization": "Basic bWU6cA=="}
    assert "bWU6cA==" not in repr(ask)


def test_an_identity_token_is_sent_as_a_form() -> None:
    ask = question(ASKED, PUSH, Login(identity="secret"))
    assert (ask.url, ask.headers) == ("https://auth.io/token", {})
    assert ask.form["grant_type"] == "refresh_token"
    assert (ask.form["refresh_token"], ask.form["scope"], ask.form["service"]) == ("secret", PUSH[0], "here")


@pytest.mark.parametrize("realm", ["http://auth.io/token", "ftp://auth.io", "//auth.io"])
def test_a_login_goes_nowhere_unencrypted(realm: str) -> None:
    asked, fetch = server()
    held = Authorization(lambda: Login("me", "p"), fetch)
    held.renew(Challenge("bearer", realm), PULL)
    with pytest.raises(RegistryError, match="not encrypted"):
        held.header(PULL)
    assert asked == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token": 3}', b'{"token": null}', b'"x"', b'{"token":"x","expires_in":"y"}']
)
def test_an_answer_without_a_token_is_said(body: bytes) -> None:
    with pytest.raises(RegistryError, match="gave no token"):
        token(body, "https://auth.io", 0)


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(token(b'{"access_token": "secret"}', "x", 0))
