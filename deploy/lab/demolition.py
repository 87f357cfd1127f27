"""Takes a lab down: everything that carries its labels, and what it wrote on this machine."""

from __future__ import annotations

import shutil
import time
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

from deploy.errors import LabError
from deploy.lab import trust
from deploy.lab.host import Host, as_root
from deploy.lab.layout import FOLDER_LABEL, LABEL, Layout
from deploy.lab.recipe import STAND_IN

_WRITTEN = ("cluster.yaml", "known_hosts", "id_ed25519", "id_ed25519.pub", "ca.key", "node", "registry", "docker")
_ROUNDS = 5
_SECONDS_BETWEEN = 0.5


def demolish(host: Host, folder: Path, *, caches: bool = False) -> bool:
    """Remove the lab of this folder; True if there was one. `caches`: its registry's volume and all lab images too."""
    folder = folder.resolve()
    labs = _networks(host, folder)
    found = _remove_containers(host, folder) or bool(labs)
    for slug, subnet in labs.items():
        layout = Layout(folder, IPv4Network(subnet), 1)
        _remove_volumes(host, slug, keep="" if caches else layout.registry_name)
        host.attempt(as_root(("rm", "--recursive", "--force", trust.engine_trust(layout))))
        host.attempt(("docker", "image", "rm", layout.base))
        # Last, for it is what a repeated `lab down` finds the rest by.
        host.run(("docker", "network", "rm", slug))
    _remove_files(folder)
    if caches:
        _remove_caches(host)
    return found


def _networks(host: Host, folder: Path) -> dict[str, str]:
    """The subnet of each of the folder's labs, by its name."""
    listed = host.run(("docker", "network", "ls", "--quiet", "--filter", f"label={FOLDER_LABEL}={folder}")).split()
    if not listed:
        return {}
    form = "{{.Name}} {{(index .IPAM.Config 0).Subnet}}"
    return dict(
        line.split() for line in host.run(("docker", "network", "inspect", "--format", form, *listed)).splitlines()
    )


def _remove_containers(host: Host, folder: Path) -> bool:
    """Remove them all at once, and look again: an interrupted start may still be creating one."""
    for number in range(_ROUNDS):
        ids = host.run(("docker", "ps", "--all", "--quiet", "--filter", f"label={FOLDER_LABEL}={folder}")).split()
        if not ids:
            return number > 0
        host.together([partial(host.attempt, ("docker", "rm", "--force", one)) for one in ids])
        time.sleep(_SECONDS_BETWEEN if number else 0)
    raise LabError(f"containers of the lab in {folder} cannot be removed: {' '.join(ids)}", "`docker rm --force` them")


def _remove_volumes(host: Host, slug: str, keep: str) -> None:
    names = host.run(("docker", "volume", "ls", "--quiet", "--filter", f"label={LABEL}={slug}")).split()
    calls = [partial(host.run, ("docker", "volume", "rm", "--force", name)) for name in names if name != keep]
    host.together(calls)


def _remove_files(folder: Path) -> None:
    for name in _WRITTEN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _remove_caches(host: Host) -> None:
    """Registry volumes of labs that are down, and the lab's images; what a running lab uses stays."""
    for name in host.run(("docker", "volume", "ls", "--quiet", "--filter", f"label={LABEL}")).split():
        host.attempt(("docker", "volume", "rm", name))
    # What was built on a lab image carries its label; the second time round only untagged ones are left.
    for form in ("{{.Repository}}:{{.Tag}}", "{{.ID}}"):
        listed = host.run(("docker", "image", "ls", "--filter", f"label={STAND_IN}", "--format", form)).split()
        images = [image for image in dict.fromkeys(listed) if "<none>" not in image]
        if images:
            host.attempt(("docker", "image", "rm", *images))
