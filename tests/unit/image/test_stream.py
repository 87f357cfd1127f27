"""Docker's streams: what is shown, and what becomes an error."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import BuildError
from deploy.event import Note, Progress
from deploy.image.failure import failure
from deploy.image.stream import built, moved
from tests.operation import run

DIGEST = "sha256:" + "cd" * 32


def lines(*texts: str) -> list[dict[str, Any]]:
    return [{"stream": text} for text in texts]


def test_a_build_shows_its_steps_and_what_they_print_and_gives_the_image() -> None:
    messages = [
        *lines("Step 1/2 : FROM base\n", " ---> abc\n", "Step 2/2 : RUN python3 x\n", " ---> Running in 12\n"),
        *lines("\x1b[32mpatched a.py\x1b[0m\n", "\n", "Removing intermediate container 12\n"),
        {"aux": {"ID": "sha256:1"}},
        *lines("Successfully built 1\n"),
    ]
    events, image = run(built(messages))
    assert image == "sha256:1"
    assert events == [
        Progress("build", 1, 2, "steps: FROM base"),
        Progress("build", 2, 2, "steps: RUN python3 x"),
        Note("patched a.py"),
    ]


def test_a_failing_step_is_named_with_its_last_lines_alone() -> None:
    messages = [
        *lines("Step 1/2 : RUN first\n", "of the first\n", "Step 2/2 : RUN second\n"),
        *lines(*(f"line {i}\n" for i in range(30))),
        {"errorDetail": {"code": 1, "message": "returned a non-zero code: 1"}, "error": "returned a non-zero code: 1"},
    ]
    with pytest.raises(BuildError) as caught:
        run(built(messages))
    message = caught.value.message
    assert message.startswith("the build failed at RUN second: returned a non-zero code: 1")
    assert "line 29" in message
    assert "line 6\n" in message
    assert "line 5\n" not in message
    assert "of the first" not in message


def test_a_refused_patch_gets_its_own_hint() -> None:
    messages = [
        *lines("Step 1/1 : RUN python3 -m deploy.inside.patch apply x\n", "patch.py: refused, nothing was changed: f\n")
    ]
    with pytest.raises(BuildError) as caught:
        run(built([*messages, {"error": "returned a non-zero code: 1"}]))
    assert "manifest.json" in caught.value.hint


def test_another_python_in_the_base_is_told_with_the_setting_that_mends_it() -> None:
    said = "the base has Python 3.11, and image.python is 3.12"
    failed = {"error": "returned a non-zero code: 1"}
    with pytest.raises(BuildError, match=f"no wheel of the tuning layer fits: {said}$") as caught:
        run(built([*lines("Step 2/2 : RUN python3 -c ...\n", f"\x1b[91m{said}\n\x1b[0m"), failed]))
    assert caught.value.hint == "set image.python to what the base has"


def test_a_build_that_ends_without_an_image_is_an_error() -> None:
    with pytest.raises(BuildError, match="without an image"):
        run(built(lines("Step 1/1 : FROM a\n")))


def test_bytes_of_all_layers_are_added_up_and_the_digest_is_given() -> None:
    def layer(name: str, current: int, status: str = "Pushing") -> dict[str, Any]:
        return {"id": name, "status": status, "progressDetail": {"current": current, "total": 10}}

    messages = [
        {"status": "The push refers to repository [x]"},
        layer("a", 5),
        layer("b", 10),
        layer("a", 12),
        {"id": "a", "status": "Extracting", "progressDetail": {"current": 3, "units": "s"}},
        {"id": "a", "status": "Pushed", "progressDetail": {}},
        {"aux": {"Tag": "t", "Digest": DIGEST, "Size": 1}},
    ]
    events, digest = run(moved("push", messages))
    assert digest == DIGEST
    assert events == [Progress("push", 5, 10), Progress("push", 15, 20), Progress("push", 20, 20)]


def test_the_digest_of_a_pull_is_in_a_status_line() -> None:
    assert run(moved("pull", [{"status": f"Digest: {DIGEST}"}, {"status": "Status: up to date"}]))[1] == DIGEST


@pytest.mark.parametrize("message", [{"errorDetail": {"message": "unknown blob"}}, {"error": "unknown blob"}])
def test_an_error_in_the_stream_is_raised(message: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match="pulling x: unknown blob"):
        run(moved("pulling x", [{"status": "Downloading"}, message]))


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("write /var/lib/docker/x: no space left on device", "disk"),
        ("denied: requested access to the resource is denied", "refused the login"),
        ("unauthorized: authentication required", "refused the login"),
        ("no basic auth credentials", "refused the login"),
        ("pull access denied for x, repository does not exist or may require 'docker login': denied", "no such image"),
        ("manifest for x:y not found: manifest unknown: manifest unknown", "no such image"),
        ("dial tcp: lookup nowhere.invalid: no such host", "cannot be reached"),
        ("dial tcp 127.0.0.1:9: connect: connection refused", "cannot be reached"),
        ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", "cannot be reached"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP"),
        ("x509: certificate signed by unknown authority", "not trusted"),
        ("standard_init_linux.go:228: exec user process caused: exec format error", "cannot run programs"),
        ("no matching manifest for linux/arm64 in the manifest list entries", "for that platform"),
        ("toomanyrequests: You have reached your pull rate limit", "rate limit"),
        ("Credentials store error: docker-credential-x not installed", "credential helper"),
        ("dial unix /var/run/docker.sock: connect: permission denied", "not yours"),
    ],
)
def test_docker_s_words_become_a_meaning_and_a_hint(words: str, meaning: str) -> None:
    error = failure("pushing x", words)
    assert meaning in error.message
    assert words in error.message
    assert error.hint


def test_credentials_in_an_address_are_not_shown() -> None:
    error = failure("pushing x", "proxyconnect http://me:marker@proxy:80: connection refused")
    assert "marker" not in error.message
    assert "http://proxy:80" in error.message
