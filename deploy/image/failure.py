"""What Docker's words mean for the user: a BuildError with a hint. Pure; knows no SDK."""

from __future__ import annotations

import re

from deploy.errors import BuildError

_MEANINGS = (
    (r"no space left on device", "the disk of the Docker Engine is full", "see `docker system df`; free some space"),
    (
        r"permission denied.*docker\.sock|docker\.sock.*permission denied",
        "the Docker Engine is not yours to use",
        "join the docker group, or run as root",
    ),
    (
        r"exec format error",
        "this machine cannot run programs of that platform",
        "build on a Spark, or install qemu-user-static and binfmt-support",
    ),
    (
        r"does not match the specified platform|no matching manifest for",
        "the image does not exist for that platform",
        "set image.platform to what the nodes are, and image.base to an image that exists for it",
    ),
    (
        r"manifest unknown|name unknown|repository does not exist|no such image|manifest for .* not found",
        "there is no such image",
        "is its name spelled right, and if it is private, are you logged in (`docker login`)?",
    ),
    (r"toomanyrequests|rate limit", "the registry's rate limit is reached", "`docker login`, or wait and try again"),
    (
        r"http response to https client",
        "the registry speaks plain HTTP",
        "use one with TLS, or list it under insecure-registries in Docker's daemon.json",
    ),
    (r"x509|certificate", "the registry's certificate is not trusted", "put its authority under /etc/docker/certs.d/"),
    (
        r"unauthorized|authentication required|no basic auth|denied|insufficient_scope|forbidden|incorrect username",
        "the registry refused the login",
        "`docker login` with an account that may do this; GHCR wants a token with write:packages to push",
    ),
    (
        r"credential|docker-credential",
        "Docker's credential helper failed",
        "see credsStore and credHelpers in ~/.docker/config.json",
    ),
    (
        r"no such host|server misbehaving|name resolution|connection refused|i/o timeout|no route to host"
        r"|network is unreachable|handshake timeout|client\.timeout|connection reset|\beof\b|timed out",
        "the registry cannot be reached",
        "is its name right, and does it answer from the machine that the Docker Engine runs on?",
    ),
)


OTHER_PYTHON = r"the base has Python \S+, and image\.python is \S+"
"""What the tuning layer's first step says where it cannot go on."""


def failure(what: str, words: str) -> BuildError:
    """`what` was being done when Docker said `words`."""
    said = without_credentials(" ".join(words.split()))
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return BuildError(f"{what}: {meaning}: {said}", hint)
    return BuildError(f"{what}: {said}", "the Docker Engine's own log may say more")


def no_engine(words: str) -> BuildError:
    """No engine answered, and this is what was said instead."""
    error = failure("no Docker Engine answers", words)
    if "not yours" in error.message:
        return error
    return BuildError(
        f"no Docker Engine answers: {' '.join(words.split())}",
        "start it (`systemctl start docker`), or name one with DOCKER_HOST or `docker context use`",
    )


def step_failure(step: str, words: str, lines: list[str]) -> BuildError:
    """A step of the build failed; `lines` are the last that it printed."""
    known = failure(f"the build failed at {step}", words)
    shown = "".join(f"\n  | {without_credentials(line)}" for line in lines)
    if "deploy.inside.selftest" in step and any("FAILED" in line for line in lines):
        return _unproven(lines)
    if found := next((line for line in lines if re.fullmatch(OTHER_PYTHON, line)), ""):
        return BuildError(f"no wheel of the tuning layer fits: {found}", "set image.python to what the base has")
    if "deploy.inside.patch" in step and any("refused" in line for line in lines):
        hint = "the base carries another SGLang than patches/manifest.json knows; docs/patches.md says how to add one"
        return BuildError(known.message + shown, hint)
    return BuildError(known.message + shown, known.hint)


def _unproven(lines: list[str]) -> BuildError:
    """The self-test's last lines are those of the checks that failed."""
    first = next(place for place, line in enumerate(lines) if line.startswith("FAILED"))
    shown = "".join(f"\n  | {without_credentials(line)}" for line in lines[first:])
    hint = "mend what the checks name; docs/image.md says what each looks at, and which of them image.allow lets pass"
    return BuildError(f"the image is not what it was built for, so there is none: its self-test failed{shown}", hint)


def without_credentials(text: str) -> str:
    """Addresses without the user and password in them."""
    return re.sub(r"(://)[^/\s@]+@", r"\1", text)
