"""Which registries are trusted, as Docker's Engine has it: certificates by host, plain HTTP on loopback alone."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from deploy.errors import ConfigError

FOLDERS = (Path("/etc/docker/certs.d"), Path("~/.docker/certs.d"), Path("~/.config/docker/certs.d"))


def is_loopback(host: str) -> bool:
    """HOST[:PORT] is this machine itself."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def authorities(host: str) -> Path | None:
    """The folder of certificates for a registry, None where there is none."""
    return next((folder for one in FOLDERS if (folder := one.expanduser() / host).is_dir()), None)


def context(folder: Path | None) -> ssl.SSLContext:
    """The system's trust, with a folder's `*.crt` on top and its `*.cert` to show. Raises ConfigError."""
    made = ssl.create_default_context()
    try:
        for authority in sorted(folder.glob("*.crt")) if folder else ():
            made.load_verify_locations(authority)
        for mine in sorted(folder.glob("*.cert")) if folder else ():
            made.load_cert_chain(mine, mine.with_suffix(".key"))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{folder}: {error}", "is it a certificate in PEM, and may you read it?") from None
    return made
