"""What a hub's failures mean: what passes is borne for a while, and the rest is told with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from deploy.errors import HubError, WeightsError
from deploy.weights import hub
from deploy.weights.hub import Hub


def answer(status: int, **headers: str) -> requests.Response:
    found = requests.Response()
    found.status_code = status
    found.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return found


def http(status: int, **headers: str) -> requests.HTTPError:
    return requests.HTTPError(f"{status} Error", response=answer(status, **headers))


def hidden(cause: Exception) -> Exception:
    """As hf_hub_download tells of a failed question."""
    error = LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub")
    error.__cause__ = cause
    return error


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, none of which is made; the clock is that of the pauses."""
    pauses: list[float] = []
    # The module's own name alone: other threads sleep as ever.
    monkeypatch.setattr(hub, "time", SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses)))
    return pauses


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def ask() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return ask


@pytest.mark.parametrize(
    "error",
    [
        *(http(500), http(503), http(429), hidden(http(502))),
        *(requests.ConnectionError("refused"), requests.ReadTimeout("late"), hidden(requests.ConnectionError("reset"))),
        OSError("Consistency check failed: file should be of size 2"),
    ],
    ids=str,
)
def test_what_passes_is_asked_again(error: Exception, slept: list[float]) -> None:
    assert Hub("", 60)._patiently(failing(error, error)) == "answer"
    assert len(slept) == 2
    assert slept[1] > slept[0]


def test_a_hub_that_says_when_to_come_again_is_heard(slept: list[float]) -> None:
    assert Hub("", 60)._patiently(failing(http(429, Retry_After="7"))) == "answer"
    assert 7 <= slept[0] < 9


def test_patience_ends_without_progress_and_begins_anew_with_it(slept: list[float]) -> None:
    with pytest.raises(HubError, match="HTTP 500"):
        Hub("", 10)._patiently(failing(*[http(500)] * 99))
    assert sum(slept) <= 10
    slept.clear()
    have = iter(range(99))
    assert Hub("", 2.5)._patiently(failing(*[http(500)] * 9), lambda: next(have)) == "answer"


@pytest.mark.parametrize(
    ("error", "said", "mends"),
    [
        (GatedRepoError("403 Forbidden. Ask for access", response=answer(403)), "refuses it", "--token"),
        (http(403), "refuses it", "--token"),
        (RepositoryNotFoundError("404", response=answer(404)), "no such model", "model.path"),
        (http(401), "no such model", "token"),
        (RevisionNotFoundError("404", response=answer(404)), "no such revision", "model.revision"),
        (hidden(http(403)), "refuses it", "--token"),
        (OSError(28, "No space left on device"), "no space left", "make room"),
    ],
    ids=str,
)
def test_what_does_not_pass_is_told_at_once(error: Any, said: str, mends: str, slept: list[float]) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        Hub("", 60)._patiently(failing(error))
    assert mends in caught.value.hint
    assert slept == []
    assert not isinstance(caught.value, HubError)
