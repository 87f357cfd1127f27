"""What a changed image costs its nodes: bytes into each, counted at its network interface, and seconds.

`benchmarks/delivery_nodes.py [--lab FOLDER] [--json]`, with the project's own Python; needs a running lab (`lab up`).

Nodes that have the base get an image with one more layer over their SSH connections, no registry in their reach;
beside it the same by `docker save | ssh docker load`, to one node. The layer is made of this project's own files, as
they go into an image. Bytes are rx_bytes of eth0 in the node's own network namespace, read past the tool; those of a
login, of the lock and of the pulse that the tool hears meanwhile are among them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.cluster.load import load  # noqa: E402
from deploy.cluster.spec import Cluster, Image  # noqa: E402
from deploy.image.order import order  # noqa: E402
from deploy.lab.machine import listing, read_listing  # noqa: E402
from deploy.launch import plan  # noqa: E402
from deploy.registry.client import Registry  # noqa: E402
from deploy.registry.manifest import LAYERS, Addition, Descriptor, Layer, appended, sha256  # noqa: E402
from deploy.registry.name import parse  # noqa: E402
from deploy.registry.repository import Repository, of_bytes  # noqa: E402
from deploy.remote import facts  # noqa: E402
from deploy.remote.execute import Fleet  # noqa: E402
from deploy.remote.lock import lock  # noqa: E402
from deploy.workflow import deliver  # noqa: E402
from deploy.workflow.lookout import Lookout  # noqa: E402
from deploy.workflow.steps import brought  # noqa: E402

METHOD = "rx_bytes of eth0 in each node's network namespace, before and after; lock and pulse among them"


@dataclass(frozen=True)
class Nodes:
    """The lab's nodes past the tool: the names of their containers, in rank order."""

    folder: Path
    names: tuple[str, ...]

    @property
    def cluster(self) -> Cluster:
        return load(self.folder / "cluster.yaml").cluster

    def received(self) -> list[int]:
        """Bytes that came into each node so far."""
        return [int(self.inside(name, "cat", "/sys/class/net/eth0/statistics/rx_bytes")) for name in self.names]

    def inside(self, name: str, *argv: str) -> str:
        return _run("docker", "exec", name, *argv)


def nodes_of(folder: Path) -> Nodes:
    """The nodes of the lab in this folder."""
    found = read_listing(_run(*listing(str(folder.resolve()))))
    return Nodes(folder.resolve(), tuple(one.name for one in found if one.role == "node"))


def measured(nodes: Nodes, base: str, changed: str, layer: int) -> dict[str, Any]:
    """The delivery of `changed` to nodes that have `base` (both REPOSITORY@sha256:…); `layer`: bytes of what is new.

    With `node_bytes_over_layer`, the most that any node got over the bytes of the new layer.
    """
    for name in nodes.names:
        forget(nodes, name, changed)
        nodes.inside(name, "docker", "pull", "--quiet", base)
    alone: list[int] = []
    direct = _counted(nodes, lambda: alone.extend(_delivered(nodes, changed)))
    assert all(changed.partition("@")[2] in _digests(nodes, name) for name in nodes.names), "a node did not get it"
    for name in nodes.names:
        forget(nodes, name, changed)
    _run("docker", "pull", "--quiet", changed)
    loaded = _counted(nodes, lambda: _loaded(nodes, changed))
    return {
        "method": METHOD,
        "layer_bytes": layer,
        "node_bytes": alone,
        "node_bytes_over_layer": round(max(alone) / layer, 3),
        "node_bytes_from_login": direct[0],
        "node_s_from_login": direct[1],
        "save_load_bytes": loaded[0][0],
        "save_load_s": loaded[1],
        "save_load_bytes_over_layer": round(loaded[0][0] / layer, 1),
    }


def forget(nodes: Nodes, name: str, image: str) -> None:
    """Remove an image from a node under every name, and what only it needs; also where it was loaded without one."""
    digest = image.partition("@")[2]
    for line in nodes.inside(
        name, "docker", "image", "ls", "--digests", "--format", "{{.Digest}} {{.ID}}"
    ).splitlines():
        if line.startswith((digest, "<none>")):
            nodes.inside(name, "docker", "image", "rm", "--force", line.split()[1])


def _digests(nodes: Nodes, name: str) -> str:
    return nodes.inside(name, "docker", "image", "ls", "--digests", "--format", "{{.Digest}}")


def _counted(nodes: Nodes, work: Callable[[], None]) -> tuple[list[int], float]:
    before, began = nodes.received(), time.monotonic()
    work()
    seconds = round(time.monotonic() - began, 2)
    return [after - one for after, one in zip(nodes.received(), before, strict=True)], seconds


def _delivered(nodes: Nodes, image: str) -> list[int]:
    """As `up --direct` does it, from the login to the last node's pull; bytes since the planning began, by node."""
    cluster = nodes.cluster
    with closing(Fleet(cluster)) as fleet:
        fleet.open()
        look = dict.fromkeys(fleet.ranks, facts.command(cluster.name))
        with lock(fleet, "benchmark", then=look) as held:
            seen = [facts.read(held.results[rank].stdout) for rank in fleet.ranks]
            lookout = Lookout(fleet, cluster)
            before = nodes.received()
            delivery = deliver.planned(fleet, cluster, image, seen, direct=True)
            todo = plan.Plan(delivery.brought.steps, (), "", "benchmark")
            for _ in brought(lookout, held, todo, delivery):
                pass
            return [after - one for after, one in zip(nodes.received(), before, strict=True)]


def _loaded(nodes: Nodes, image: str) -> None:
    """The usual way, to the first node."""
    cluster = nodes.cluster
    login = ("ssh", "-q", "-i", str(cluster.ssh.identity), "-o", f"UserKnownHostsFile={cluster.ssh.known_hosts}")
    with subprocess.Popen(("docker", "save", image), stdout=subprocess.PIPE) as save:
        load_there = (*login, f"{cluster.ssh.user}@{cluster.nodes[0].host}", "docker load")
        subprocess.run(load_there, stdin=save.stdout, check=True, capture_output=True)


def with_layer(base: str, image: Image) -> tuple[str, int]:
    """`image` as the base and one layer of this project's files; its reference, the layer's bytes."""
    packed, unpacked = _project_layer(image)
    new = Descriptor(LAYERS["application/vnd.docker.distribution.manifest.v2+json"], sha256(packed), len(packed))
    source, target = parse(base), parse(image.repository)
    with Registry(source.host) as registry:
        origin, home = Repository(registry, source.repository), Repository(registry, target.repository)
        manifest = origin.manifest(source.digest)
        made, config = appended(manifest, origin.content(manifest.config), Addition((Layer(new, sha256(unpacked)),)))
        for one in manifest.layers:
            if not home.has(one.digest) and not home.mount(one.digest, origin.name):
                raise RuntimeError(f"{registry.host} does not mount {one.digest}")
        home.upload(new, of_bytes(packed))
        home.upload(made.config, of_bytes(config))
        digest = home.put(made.raw, made.media_type, "benchmark")
    return f"{image.repository}@{digest}", len(packed)


def _project_layer(image: Image) -> tuple[bytes, bytes]:
    """(gzipped, plain) tar of the files that an image gets, below a folder of their own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in _files(order(image, ROOT).context.files):
            entry = tarfile.TarInfo(f"opt/sglang-spark-benchmark/{path}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    plain = buffer.getvalue()
    return gzip.compress(plain, mtime=0), plain


def _files(files: Any) -> Iterator[tuple[str, bytes]]:
    yield from ((path, files[path].content) for path in sorted(files))


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Measure on a lab that runs, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", type=Path, default=Path(".lab"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    nodes = nodes_of(given.lab)
    os.environ["DOCKER_CONFIG"] = str(nodes.folder / "docker")
    image = nodes.cluster.image
    base = image.base.replace(":spark@", "@")
    changed, layer = with_layer(base, image)
    found = measured(nodes, base, changed, layer)
    print(json.dumps(found, indent=2) if given.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
