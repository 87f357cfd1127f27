"""Names of images, read as Docker reads them. Pure; asks no registry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.errors import ConfigError

HUB = "docker.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


@dataclass(frozen=True)
class Name:
    """HOST/REPOSITORY[:TAG][@DIGEST]; tag and digest are "" where there is none."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """What a registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def bare(self) -> str:
        """HOST/REPOSITORY, as Docker writes it: its hub's own names are left out."""
        if self.host != HUB:
            return f"{self.host}/{self.repository}"
        return self.repository.removeprefix("library/")

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.bare}{tag}{digest}"


def parse(text: str) -> Name:
    """The parts of [HOST/]NAME[:TAG][@DIGEST]. Raises ConfigError."""
    rest, at, digest = text.partition("@")
    tag = ""
    if found := re.search(r":([^/:]*)$", rest):
        rest, tag = rest[: found.start()], found[1]
        if not _TAG.fullmatch(tag):
            raise _wrong(text, f"{tag!r} is no tag")
    if at and not DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest!r} is no digest: sha256: and 64 of 0-9 and a-f")
    host, path = _split(rest)
    if not _PATH.fullmatch(path) or not _HOST.fullmatch(host):
        raise _wrong(text, "[HOST/]NAME[:TAG][@DIGEST], the name in lower case")
    return Name(host, path, tag, digest)


def _split(text: str) -> tuple[str, str]:
    """(host, path). The first part is a host where it could be no name on Docker's hub."""
    first, slash, rest = text.partition("/")
    if slash and (re.search(r"[.:]", first) or first == "localhost" or first != first.lower()):
        return (HUB if first == "index.docker.io" else first), rest
    return HUB, text if slash else f"library/{text}"


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text!r} is no name of an image: {why}", "such as ghcr.io/OWNER/NAME:TAG")
