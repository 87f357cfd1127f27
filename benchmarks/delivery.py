"""What an image costs on its way: from the change to the registry, and from there to the nodes.

`benchmarks/delivery.py [--json] [--gigabytes N] [--no-nodes]`, with the project's own Python; needs root and Docker.

A real registry on loopback gets a base of at least 1.5 GB: the lab's base image (SGLang's tree, a stand-in for its GPU
engine) under layers of random data. Then, each by the command as a user types it, from the start of its process to its
end: `build --lock`, which reads the base once; `build --push`, which appends into the same registry, the median of five
repositories that are new to it; the same once more; and `build --engine docker --push`, which pulls, builds and pushes.
Bytes are those of packets on the registry's port, both ways, with their headers, counted by the kernel (iptables). At
last a lab of four nodes gets a changed table: benchmarks/delivery_nodes.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delivery_registry import CLI, Bench, bench, run  # noqa: E402
from deploy.cluster.load import load  # noqa: E402
from deploy.image import append  # noqa: E402
from deploy.image.context import ContextFile  # noqa: E402
from deploy.image.order import Order, order  # noqa: E402
from deploy.lab.host import Host  # noqa: E402
from deploy.lab.images import images, make, python_of  # noqa: E402
from deploy.lab.preflight import check_machine  # noqa: E402
from deploy.registry.client import Registry  # noqa: E402
from deploy.registry.manifest import LAYERS, Addition, Descriptor, Layer, appended  # noqa: E402
from deploy.registry.repository import Repository, of_bytes, of_file  # noqa: E402

ROUNDS = 5
LAYER = 512 << 20
"""Bytes of one random layer."""
SUBNET = "172.31.245.0/24"


def push_base(bench: Bench, gigabytes: float) -> tuple[str, str, int]:
    """(name, its Python, bytes) of a base that the registry then has, and the Docker Engine has not."""
    host = Host()
    release = check_machine(host)
    wanted = images(release)
    for _ in make(host, release, wanted):
        pass
    name = f"{bench.address}/bench/lab:x"
    run("docker", "tag", wanted.base, name)
    try:
        run("docker", "push", "--quiet", name, environ=bench.environ)
    finally:
        run("docker", "rmi", name)
    with Registry(bench.address) as client:
        source, target = Repository(client, "bench/lab"), Repository(client, "bench/base")
        below = source.manifest("x")
        layers = tuple(random_layer(bench.folder, target) for _ in range(round(gigabytes * 1e9 / LAYER)))
        for blob in below.layers:
            target.mount(blob.digest, source.name)
        made, config = appended(below, source.content(below.config), Addition(layers))
        target.upload(made.config, of_bytes(config))
        digest = target.put(made.raw, made.media_type, "spark")
    size = sum(one.size for one in made.layers)
    return f"{bench.address}/bench/base:spark@{digest}", python_of(host, wanted.base), size


def random_layer(folder: Path, target: Repository) -> Layer:
    """Random bytes, in the registry; packed without being made smaller, which they cannot be."""
    packed, plain = folder / "random.tar.gz", folder / "random.tar"
    entry = tarfile.TarInfo(f"srv/random-{os.urandom(4).hex()}")
    entry.size = LAYER
    with Path("/dev/urandom").open("rb") as noise, tarfile.open(plain, "w") as tar:
        tar.addfile(entry, noise)
    with plain.open("rb") as content, gzip.GzipFile(packed, "wb", compresslevel=0, mtime=0) as squeezed:
        shutil.copyfileobj(content, squeezed, 1 << 20)
    blob = Descriptor(LAYERS["application/vnd.oci.image.manifest.v1+json"], checksum(packed), packed.stat().st_size)
    target.upload(blob, of_file(packed))
    made = Layer(blob, checksum(plain), "random data")
    packed.unlink()
    plain.unlink()
    return made


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def to_registry(gigabytes: float) -> dict[str, Any]:
    """What the engines cost."""
    with bench() as here:
        base, python, size = push_base(here, gigabytes)
        mine = [here.cluster(base, f"me/append-{number}", python) for number in range(ROUNDS)]
        theirs = here.cluster(base, "me/docker", python)
        found: dict[str, Any] = {"base_bytes": size}
        found |= here.measured("build", "--lock", "--nodes", str(mine[0])).named("lock")
        first = [here.measured("build", "--push", "--nodes", str(one)) for one in mine]
        found |= sorted(first, key=lambda one: one.seconds)[ROUNDS // 2].named("append")
        found |= {"append_all_s": [round(one.seconds, 2) for one in first]}
        found |= here.measured("build", "--push", "--rebuild", "--nodes", str(mine[0])).named("append_again")
        references = [base, order(load(theirs).cluster.image, ROOT).reference]
        try:
            found |= here.measured("build", "--push", "--engine", "docker", "--nodes", str(theirs)).named("docker")
        finally:
            for reference in reversed(references):
                subprocess.run(("docker", "rmi", "--force", reference), capture_output=True, check=False)
        return found


def with_a_changed_table(wanted: Order) -> Order:
    """The same with a line end more in one kernel table, under a tag of its own."""
    path = next(one for one in sorted(wanted.context.files) if one.startswith("configs/") and "provenance" not in one)
    files = {**wanted.context.files, path: ContextFile(wanted.context.files[path].content + b"\n")}
    return replace(wanted, context=replace(wanted.context, files=files), reference=f"{wanted.reference}-changed")


def to_nodes() -> dict[str, Any]:
    """What a changed table costs each of four nodes of a lab that have the image without the change."""
    from benchmarks.delivery_nodes import measured, nodes_of

    with tempfile.TemporaryDirectory(prefix="sglang-spark-delivery-") as name:
        folder = Path(name, "lab")
        run(*CLI, "lab", "up", "--nodes", "4", "--subnet", SUBNET, "--dir", str(folder))
        try:
            os.environ["DOCKER_CONFIG"] = str(folder / "docker")
            wanted = order(load(folder / "cluster.yaml").cluster.image, ROOT)
            first, second = (pushed(one, folder) for one in (wanted, with_a_changed_table(wanted)))
            return dict(measured(nodes_of(folder), first[0], *second))
        finally:
            run(*CLI, "lab", "down", "--dir", str(folder))


def pushed(wanted: Order, folder: Path) -> tuple[str, int]:
    """(REPOSITORY@DIGEST, bytes of its topmost layer) of an image that was appended."""
    making = append.build(wanted, folder / "image.lock.json")
    try:
        while True:
            next(making)
    except StopIteration as end:
        digest = str(end.value)
    host, _, path = wanted.image.repository.partition("/")
    with Registry(host) as client:
        return f"{wanted.image.repository}@{digest}", Repository(client, path).manifest(digest).layers[-1].size


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gigabytes", type=float, default=1.6, help="random data in the base")
    parser.add_argument("--no-nodes", action="store_true", help="leave the lab of four nodes out")
    given = parser.parse_args()
    found = to_registry(given.gigabytes) | ({} if given.no_nodes else to_nodes())
    print(json.dumps(found, indent=2) if given.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
