"""What a registry's refusal means for the user: an error with a hint. Pure."""

from __future__ import annotations

import json
import re

from deploy.errors import RegistryError

_MEANINGS = {
    401: (
        "the registry refused the login",
        "`docker login` with an account that may do this, and see the name: Docker's hub says so of one it does not "
        "know; GHCR wants a token with write:packages to push",
    ),
    403: (
        "the account may not do this",
        "`docker login` as one that may; GHCR wants a token with write:packages, and the package linked to its source",
    ),
    404: (
        "there is no such image",
        "is its name spelled right, and if it is private, are you logged in (`docker login`)?",
    ),
    413: ("the registry takes nothing so large", "GHCR takes layers of up to 10 GB"),
    429: ("the registry's rate limit is reached", "`docker login`, or wait and try again"),
}


def refused(what: str, status: int, body: bytes) -> RegistryError:
    """`what` was being done when the registry answered so."""
    meaning, hint = _MEANINGS.get(status, ("the registry failed", "see the registry's log, or try again later"))
    return RegistryError(f"{what}: {meaning}: {status} {_words(body)}".rstrip(), hint)


def _words(body: bytes) -> str:
    """The registry's own words, in one line."""
    text = body.decode(errors="replace")
    try:
        errors = json.loads(text)["errors"]
        text = "; ".join(f"{one.get('code', '')}: {one.get('message', '')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = re.sub(r"<[^>]*>", " ", text)
    # Addresses may carry signatures: they are good for a download without a login.
    return re.sub(r"(https?://[^\s?\"]+)\?[^\s\"]+", r"\1", " ".join(text.split()))[:300]
