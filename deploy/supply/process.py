"""The commands of others that this room runs: cosign for keyless identities, and docker for a self-test here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from deploy.command import Command, Result
from deploy.errors import BuildError, ConfigError

LIMIT = 1800.0
"""Seconds; a self-test may first have to pull the image."""


@dataclass(frozen=True)
class Identity:
    """Who signed without a key: as a certificate names it, and who vouches for that."""

    subject: str
    issuer: str


def sign_argv(reference: str) -> tuple[str, ...]:
    """cosign signs REPOSITORY@DIGEST by an identity of this surrounding (GitHub's, or a browser's)."""
    return ("cosign", "sign", "--yes", reference)


def verify_argv(reference: str, identity: Identity) -> tuple[str, ...]:
    """cosign holds the signatures of REPOSITORY@DIGEST to an identity."""
    who = ("--certificate-identity", identity.subject, "--certificate-oidc-issuer", identity.issuer)
    return ("cosign", "verify", "--output", "json", *who, reference)


def run_cosign(argv: tuple[str, ...]) -> Result:
    """Run it; what it answers is in the Result. Raises ConfigError where there is none."""
    if not shutil.which("cosign"):
        hint = "install it (docs.sigstore.dev), or sign and verify with a key: --key FILE needs no cosign"
        raise ConfigError("an identity without a key needs the command `cosign`, which is not installed here", hint)
    return run(argv)


def run(argv: tuple[str, ...]) -> Result:
    """Run a command to its end; exit codes are Results. Raises BuildError where it cannot be run."""
    command = Command(argv, timeout=LIMIT)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except FileNotFoundError:
        raise BuildError(f"{argv[0]}: is not installed here", "install it, or leave out what needs it") from None
    except subprocess.TimeoutExpired:
        return Result(command, None, stderr=f"did not end in {LIMIT:.0f} s")
    return Result(command, done.returncode, stdout=done.stdout, stderr=done.stderr)
