"""The systemd unit that keeps a watch running, and the file with its variables: text from values. Installs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from deploy.errors import ConfigError

PASSED = ("DOCKER_CONFIG", "DOCKER_HOST", "XDG_CACHE_HOME", "XDG_STATE_HOME")
"""Variables of the installing shell that the watch needs as they are there, beside those that cluster.yaml names."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_UNIT = """\
# Written by `watch install`; `watch remove` removes it.
[Unit]
Description=sglang-spark: watch of {cluster}
{after}
[Service]
Type=exec
{user}WorkingDirectory={folder}
EnvironmentFile={environment}
ExecStart={command}
Restart=on-failure
RestartSec=10
# A stopped watch leaves the ranks as they are; one that is stopped in a restart takes back what it began.
SuccessExitStatus=130
TimeoutStopSec=120
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy={target}
"""
# A user's manager knows no network; the watch itself waits for nodes that cannot be reached.
_AFTER = "Wants=network-online.target\nAfter=network-online.target\n"


@dataclass(frozen=True)
class Service:
    """A watch as a service. All paths are absolute; an empty `user` means a unit of the user's own manager."""

    cluster: str
    python: PurePath
    script: PurePath
    file: PurePath
    environment: PurePath
    user: str = ""


def name(cluster: str) -> str:
    return f"sglang-spark-{cluster}.service"


def render(service: Service) -> str:
    """The unit. Raises ConfigError where a path cannot be written into one."""
    command = (str(service.python), str(service.script), "watch", "run", "--nodes", str(service.file))
    return _UNIT.format(
        cluster=service.cluster,
        after=_AFTER if service.user else "",
        user=f"User={service.user}\n" if service.user else "",
        folder=_plain(str(service.script.parent)),
        environment=_plain(str(service.environment)),
        command=" ".join(map(_word, command)),
        target="multi-user.target" if service.user else "default.target",
    )


def _plain(path: str) -> str:
    """A setting that is one path: systemd expands only % in it."""
    if _CONTROL.search(path) or path != path.strip() or path.endswith("\\"):
        raise ConfigError(f"a systemd unit cannot name the path {path!r}", "move it to a path of plain characters")
    return path.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line: systemd expands % and $, and takes quotes and backslashes as C does."""
    if _CONTROL.search(text):
        raise ConfigError(f"a systemd unit cannot name the path {text!r}", "move it to a path of plain characters")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def variables(text: Mapping[str, str]) -> str:
    """A file for EnvironmentFile= that gives every value back to the letter. Raises ConfigError for what it cannot."""
    for key, value in text.items():
        if "\x00" in value or "\r" in value:
            raise ConfigError(f"the value of {key} cannot be given to a service", "it has a control character")
    return "".join(f'{key}="{_escaped(value)}"\n' for key, value in sorted(text.items()))


def _escaped(value: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", value)
