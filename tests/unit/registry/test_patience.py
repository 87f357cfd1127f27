"""What is tried again, how often, and after how long."""

from __future__ import annotations

import pytest

from deploy.errors import CutError, RegistryError
from deploy.registry.failure import refused
from deploy.registry.patience import Patience, Tries, retry_after


def test_waits_grow_and_end_with_the_number_of_tries() -> None:
    slept: list[float] = []
    tries = Tries(Patience(waits=(1, 2), sleep=slept.append))
    tries.after(CutError("it broke"))
    tries.after(CutError("it broke"))
    with pytest.raises(RegistryError, match=r"^it broke \(tried 3 times\)$") as caught:
        tries.after(CutError("it broke", "a hint"))
    assert not isinstance(caught.value, CutError)
    assert caught.value.hint == "a hint"
    assert 1 <= slept[0] <= 1.25
    assert 2 <= slept[1] <= 2.5


def test_what_went_on_has_all_its_tries_again() -> None:
    tries = Tries(Patience(waits=(1,), sleep=lambda _: None))
    for _ in range(3):
        tries.after(CutError("it broke"))
        tries.anew()


def test_a_registry_is_left_alone_for_as_long_as_it_asks_within_reason() -> None:
    slept: list[float] = []
    tries = Tries(Patience(waits=(1, 1), most=60, sleep=slept.append))
    tries.after(CutError("busy", wait=30))
    assert 30 <= slept[0] <= 37.5
    with pytest.raises(RegistryError, match="left alone for 61 s"):
        tries.after(CutError("busy", wait=61))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3", 3),
        (" 120 ", 120),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(said: str, seconds: float) -> None:
    assert retry_after({"Retry-After": said}, 10.0) == seconds


@pytest.mark.parametrize("status", [401, 403, 404, 413, 429, 500, 418])
def test_every_refusal_has_a_meaning_and_a_hint(status: int) -> None:
    error = refused("pushing x", status, b'{"errors":[{"code":"DENIED","message":"no  way"}]}')
    assert error.message.startswith("pushing x: ")
    assert f"{status} DENIED: no way" in error.message
    assert error.hint


def test_what_a_registry_says_is_shown_short_plain_and_without_signatures() -> None:
    words = refused("x", 403, b"<html><b>Denied</b> https://s3/x?X-Signature=abc " + b"y" * 1000).message
    assert "Denied https://s3/x " in words
    assert "abc" not in words
    assert len(words) < 400
