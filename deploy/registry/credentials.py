"""The logins that `docker login` keeps: Docker's config.json and its credential helpers. Writes nothing."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.errors import ConfigError
from deploy.registry.name import HUB

HUB_KEY = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"
"""The name under which a credential helper keeps an identity token."""
SECONDS = 30


@dataclass(frozen=True)
class Login:
    """A user with a password, or an identity token for a token server."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)


def login(host: str, environ: Mapping[str, str] = os.environ) -> Login | None:
    """What Docker would log in with, None where nothing is kept. Raises ConfigError."""
    path = Path(environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json"
    config = _read(path)
    key = HUB_KEY if host == HUB else host
    helper = (config.get("credHelpers") or {}).get(key) or config.get("credsStore")
    if helper and (found := _helped(str(helper), key)):
        return found
    return kept(config, host, path)


def kept(config: Mapping[str, Any], host: str, path: Path) -> Login | None:
    """The login that stands in the file itself. Raises ConfigError."""
    for address, entry in (config.get("auths") or {}).items():
        if _same(address, host) and isinstance(entry, dict):
            if entry.get("identitytoken"):
                return Login(identity=entry["identitytoken"])
            if entry.get("auth"):
                return _decoded(entry["auth"], f"{path}: auths: {address}")
            if entry.get("username"):
                return Login(str(entry["username"]), str(entry.get("password", "")))
    return None


def _same(address: str, host: str) -> bool:
    """Old entries are whole addresses."""
    bare = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return (HUB if bare in ("index.docker.io", "registry-1.docker.io") else bare) == host


def _decoded(text: str, where: str) -> Login:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, colon, password = "", "", ""
    if not colon:
        raise ConfigError(f"{where}: `auth` is no login", "`docker login` again")
    return Login(user, password.rstrip("\0"))


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}", "mend it, or name another folder by DOCKER_CONFIG"
        ) from None
    return config if isinstance(config, dict) else {}


def _helped(helper: str, key: str) -> Login | None:
    """What `docker-credential-HELPER get` has for an address, None where it has nothing. Raises ConfigError."""
    program = f"docker-credential-{helper}"
    hint = "see credsStore and credHelpers in Docker's config.json"
    try:
        done = subprocess.run([program, "get"], input=key, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{program}: {error}", hint) from None
    if done.returncode:
        # A helper that has nothing says so and fails; so does one that is broken.
        if "credentials not found" in done.stdout + done.stderr:
            return None
        raise ConfigError(f"{program}: {(done.stdout + done.stderr).strip()[-200:]}", hint)
    try:
        said = json.loads(done.stdout)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{program}: its answer is no login", hint) from None
    return Login(identity=secret) if user == TOKEN_USER else Login(user, secret)
