"""Builds a lab up, tells how it is and takes it down; says what it does as events, and knows no command line."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

from deploy.errors import LabError
from deploy.event import Event, Note
from deploy.lab import machine, preflight, trust
from deploy.lab.clusterfile import cluster_yaml
from deploy.lab.demolition import demolish
from deploy.lab.host import Host, as_root
from deploy.lab.images import Images, images, make, python_of
from deploy.lab.layout import Layout
from deploy.lab.machine import Found
from deploy.lab.push import push_base
from deploy.lab.recipe import Release


def up(host: Host, layout: Layout) -> Generator[Event]:
    """Start the lab. One that runs already is left as it is; what a failure or an interruption leaves is removed."""
    release = preflight.check_machine(host)
    wanted = images(release)
    existing = find(host, layout.folder)
    if existing:
        yield from _already(existing, layout, wanted)
        return
    preflight.check_subnet(host, layout)
    yield from make(host, release, wanted)
    try:
        yield Note(f"starting {layout.nodes} nodes and a registry on {layout.subnet}")
        claim = host.attempt(machine.network(layout))
        if claim.code == 0:
            yield from _begin(host, layout, release, wanted)
    except GeneratorExit:
        demolish(host, layout.folder)
        raise
    except BaseException:
        yield Note("removing what was begun of the lab", "warning")
        demolish(host, layout.folder)
        raise
    # Another `lab up` may have been first; what it made is not ours to remove.
    claim.checked()


def find(host: Host, folder: Path) -> list[Found]:
    """The containers of the lab in this folder, running or not."""
    return machine.read_listing(host.run(machine.listing(str(folder.resolve()))))


def _already(existing: list[Found], layout: Layout, wanted: Images) -> Iterator[Event]:
    broken = [f"{one.hostname} is {one.state}" for one in existing if one.state != "running"]
    nodes = sum(one.role == "node" for one in existing)
    if existing[0].slug != layout.slug or nodes != layout.nodes:
        broken.append(f"it has {nodes} nodes and is called {existing[0].slug}")
    if broken or existing[0].role != "registry":
        what = "; ".join(broken) or "its registry is gone"
        raise LabError(
            f"there is a lab in {layout.folder}, but not the one asked for: {what}", "`lab down`, then `lab up`"
        )
    if any(one.recipe != recipe_of(wanted) for one in existing):
        yield Note("the lab runs, made from older images; `lab down` and `lab up` renew it", "warning")
    yield Note(f"the lab runs already: {nodes} nodes; nothing changed", "done")


def recipe_of(wanted: Images) -> str:
    """A label that says which images a lab was made from."""
    return "-".join(reference.rsplit(":", 1)[-1] for reference in (wanted.node, wanted.base))


def _begin(host: Host, layout: Layout, release: Release, wanted: Images) -> Iterator[Event]:
    _write_trust(host, layout)
    capabilities = machine.bounding_set(Path("/proc/self/status").read_text())
    recipe = recipe_of(wanted)
    starts = [machine.node(layout, index, wanted.node, recipe, capabilities) for index in range(layout.nodes)]
    results = host.together(
        [partial(_start_registry, host, layout, wanted, recipe), partial(python_of, host, wanted.base)]
        + [partial(_start_node, host, argv, layout.node_name(index)) for index, argv in enumerate(starts)]
    )
    digest, python, *keys = results
    addresses = [str(layout.node_address(index)) for index in range(layout.nodes)]
    _write(layout.known_hosts, trust.known_hosts(dict(zip(addresses, keys, strict=True))))
    _write(layout.cluster_file, cluster_yaml(layout, digest, f"linux/{release.architecture}", python))
    yield Note(f"the lab is ready: {layout.nodes} nodes, described in {layout.cluster_file}", "done")


def _start_node(host: Host, argv: tuple[str, ...], name: str) -> str:
    host.run(argv)
    return host.run(("docker", "exec", name, "lab-node", "node-ready")).strip()


def _start_registry(host: Host, layout: Layout, wanted: Images, recipe: str) -> str:
    host.run(machine.registry(layout, wanted.node, recipe))
    host.run(("docker", "exec", layout.registry_name, "lab-node", "registry-ready"))
    return push_base(host, layout, wanted.base)


def _write_trust(host: Host, layout: Layout) -> None:
    """Keys, certificates and the registry's login, below the lab's folder; the authority's key is not kept."""
    for_nodes, for_registry = layout.folder / "node", layout.folder / "registry"
    for folder in (layout.folder, for_nodes, for_registry, layout.docker_config):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.identity.unlink(missing_ok=True)
    host.run(trust.ssh_key(layout))
    shutil.copy(f"{layout.identity}.pub", for_nodes / "authorized_keys")

    authority = (str(layout.folder / "ca.key"), str(for_nodes / "ca.crt"))
    host.run(trust.authority(*authority))
    server = (str(for_registry / "tls.key"), str(for_registry / "tls.crt"))
    host.run(trust.server_certificate(layout, authority, *server))
    Path(authority[0]).unlink()

    password = secrets.token_urlsafe(18)
    _write(for_registry / "login", f"{trust.USER}:{password}\n")
    for folder in (for_nodes / "docker-config.json", layout.docker_config / "config.json"):
        _write(folder, trust.docker_config(layout.registry, password))
    target = f"{trust.engine_trust(layout)}/ca.crt"
    host.run(as_root(("install", "-D", "-m", "644", authority[1], target)))


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
