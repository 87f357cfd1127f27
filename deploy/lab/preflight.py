"""Whether this machine can hold a lab, and where; says what is missing before anything is made."""

from __future__ import annotations

import platform
from pathlib import Path

from deploy.errors import LabError
from deploy.lab.host import Host
from deploy.lab.layout import FOLDER_LABEL, Layout, conflict, route_networks
from deploy.lab.recipe import Release, read_release

_READY = "`deploy/lab/host.sh install` and `deploy/lab/host.sh start` ready a Debian or Ubuntu machine"


def check_machine(host: Host) -> Release:
    """This machine's release; raises LabError where no lab can be."""
    if platform.system() != "Linux":
        raise LabError(f"the lab needs Linux, and this is {platform.system()}", "use a Debian or Ubuntu machine")
    shown = host.attempt(("docker", "version", "--format", "{{.Server.Arch}}"))
    if shown.code != 0:
        raise LabError(f"no Docker Engine answers: {_last(shown.err)}", _READY)
    check_engine(host.run(("docker", "info", "--format", "{{.OperatingSystem}} {{.SecurityOptions}}")))
    release = read_release(Path("/etc/os-release").read_text(), shown.out.strip())
    if release.name not in {"debian", "ubuntu"} or not release.codename:
        raise LabError(
            f"the lab is made from Debian or Ubuntu packages, and this is {release.name or 'neither'}", _READY
        )
    return release


def check_engine(described: str) -> None:
    """Raises LabError for a kind of engine that cannot hold nested ones."""
    if "Docker Desktop" in described:
        raise LabError("Docker Desktop's engine runs in a machine of its own, out of the lab's reach", _READY)
    if "rootless" in described:
        raise LabError("this Docker Engine is rootless and cannot hold nested engines", _READY)


def check_subnet(host: Host, layout: Layout) -> None:
    """Raises LabError where another network of this machine overlaps the lab's."""
    listed = host.run(("docker", "network", "ls", "--quiet", "--filter", "driver=bridge")).split()
    label = f'{{{{$label := index .Labels "{FOLDER_LABEL}"}}}}'
    form = "{{$name := .Name}}" + label + "{{range .IPAM.Config}}{{$name}}\t{{.Subnet}}\t{{$label}}{{println}}{{end}}"
    shown = host.run(("docker", "network", "inspect", "--format", form, *listed)) if listed else ""
    rows = [line.split("\t") for line in shown.splitlines() if line.strip()]
    owners = {
        name: f"Docker's network {name}" + (f", the lab of {folder}" if folder else "") for name, _, folder in rows
    }
    taken = [(owners[name], network) for name, network, _ in rows]
    taken += [
        (f"the route by {device}", net) for device, net in route_networks(host.run(("ip", "-4", "route", "show")))
    ]
    clash = conflict(layout.subnet, taken)
    if clash:
        raise LabError(f"the subnet {layout.subnet} is taken by {clash}", "choose another with `lab up --subnet`")


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
