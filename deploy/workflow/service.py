"""`watch install`, `remove` and `status`: the watch as a systemd unit of this machine. Contacts no node."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from deploy.cluster.load import Document
from deploy.event import Event, Note
from deploy.launch.watch import unit
from deploy.launch.watch.overview import Overview
from deploy.launch.watch.unit import PASSED, Service
from deploy.workflow import systemd
from deploy.workflow.asked import ROOT, checked, secrets
from deploy.workflow.watch.incidents import Incidents

AGENT = "the service has no SSH agent: ssh.identity, or a key in ~/.ssh, must let it in without a passphrase"


@dataclass(frozen=True)
class Places:
    """Where the unit and its variables lie; `root` stands for / (an image's folder, or a test's)."""

    cluster: str
    root: Path

    @property
    def unit(self) -> Path:
        folder = "etc/systemd/system" if systemd.is_system() else f"{_config()}/systemd/user"
        return self.root / folder.lstrip("/") / unit.name(self.cluster)

    @property
    def environment(self) -> Path:
        folder = "etc/sglang-spark" if systemd.is_system() else f"{_config()}/sglang-spark"
        return self.root / folder.lstrip("/") / f"{self.cluster}.env"


def _config() -> str:
    return os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")


def install(document: Document, file: Path, environ: Mapping[str, str], root: Path) -> Iterator[Event]:
    """Write unit and variables, enable and start it. Raises ConfigError, ServiceError. Safe to repeat."""
    cluster, places = checked(document), Places(document.cluster.name, root)
    user = getpass.getuser() if systemd.is_system() else ""
    inside = Path("/") / places.environment.relative_to(root)
    script = ROOT / "build-and-deploy.py"
    text = unit.render(Service(cluster.name, Path(sys.executable), script, file.resolve(), inside, user))
    passed = {name: environ[name] for name in PASSED if name in environ}
    _write(places.environment, unit.variables({**passed, **secrets(document, environ)}), 0o600)
    _write(places.unit, text, 0o644)
    yield Note(f"wrote {places.unit} and {places.environment}")
    yield from _enable(places, unit.name(cluster.name))
    if cluster.ssh.identity is None:
        yield Note(AGENT, "warning")
    if not user:
        yield Note(f"so that it runs without a login: loginctl enable-linger {getpass.getuser()}", "warning")


def _enable(places: Places, name: str) -> Iterator[Event]:
    if places.root != Path("/"):
        systemd.systemctl(f"--root={places.root}", "enable", name)
        yield Note(f"{name} is enabled below {places.root}; nothing was started", "done")
        return
    systemd.systemctl("daemon-reload")
    systemd.systemctl("enable", name)
    if systemd.runs():
        systemd.systemctl("restart", name)
        yield Note(f"{name} is enabled and runs: journalctl {_scope()}-u {name}", "done")
    else:
        yield Note(f"{name} is enabled; systemd does not run here, so nothing was started", "warning")


def _scope() -> str:
    return "" if systemd.is_system() else "--user "


def _write(file: Path, text: str, mode: int) -> None:
    """With its mode before it has content; whole or not at all."""
    file.parent.mkdir(mode=0o700 if mode == 0o600 else 0o755, parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as opened:
        opened.write(text)
    beside.replace(file)


def remove(cluster: str, root: Path) -> Iterator[Event]:
    """Stop and disable the unit, and remove what `install` wrote; incidents stay. Safe to repeat."""
    places, name = Places(cluster, root), unit.name(cluster)
    if not places.unit.exists() and not places.environment.exists():
        yield Note(f"{name} is not installed", "done")
        return
    if places.root != Path("/"):
        systemd.ask(f"--root={root}", "disable", name)
    else:
        systemd.ask("disable", *(("--now",) if systemd.runs() else ()), name)
    places.unit.unlink(missing_ok=True)
    places.environment.unlink(missing_ok=True)
    if places.root == Path("/") and systemd.runs():
        systemd.systemctl("daemon-reload")
    yield Note(f"{name} is removed; the ranks are left as they are", "done")


def status(cluster: str, root: Path, most: int = 5) -> Overview:
    """The unit as it is, and the last incidents on this machine."""
    places, name = Places(cluster, root), unit.name(cluster)
    kept = tuple((str(one.folder), one.incident) for one in islice(Incidents(cluster), most))
    if not places.unit.exists():
        return Overview(name, "", "no", "no", kept)
    where = () if root == Path("/") else (f"--root={root}",)
    enabled = systemd.ask(*where, "is-enabled", name)[1].strip() or "unknown"
    active = systemd.ask("is-active", name)[1].strip() if not where else ""
    return Overview(name, str(places.unit), enabled, active or "unknown", kept)
