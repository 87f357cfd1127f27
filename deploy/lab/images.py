"""Makes the lab's images where this machine's engine lacks them. What goes into them is said in recipe.py."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import deploy
from deploy.errors import LabError
from deploy.event import Event, Note
from deploy.lab import recipe
from deploy.lab.host import Host, as_root
from deploy.lab.recipe import Release

ROOM = Path(__file__).parent
FILES = ROOM / "files"
LOCK = ROOM / "base.lock"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_NODE_FILES = (
    *("lab-node", "runc-clamp", "nvidia-smi", "nvidia-container-runtime-hook"),
    *("sshd_config", "lab-registry.yml"),
)
CARRIED = (
    *("__init__", "launch/__init__", "launch/flags", "kernels/__init__"),
    *(f"kernels/{name}" for name in ("default", "finding", "gpu", "memory", "name", "rules", "shape", "table")),
)
"""What the stand-in imports of this package; the base image has no more of it. An image brings its own `deploy`."""


@dataclass(frozen=True)
class Images:
    """References in this machine's engine; each changes with what it is made from."""

    rootfs: str
    tree: str
    base: str
    node: str


def images(release: Release) -> Images:
    """What the lab's images are called, here and now; raises LabError where the stand-in's files are missing."""
    slim = (FILES / "dpkg-slim").read_bytes()
    packages = " ".join(recipe.ROOTFS_PACKAGES)
    rootfs = recipe.tag(
        "rootfs", (release.name, release.codename, release.architecture, packages, slim, *recipe.LEFT_OUT)
    )
    tree = recipe.tag("tree", (recipe.tree_dockerfile(rootfs), LOCK.read_bytes(), *recipe.TRIMMED))
    node_files = {name: (FILES / name).read_bytes() for name in _NODE_FILES}
    return Images(
        rootfs,
        tree,
        recipe.tag("base", (recipe.base_dockerfile(tree), *recipe.contents(stand_in_files()))),
        recipe.tag("node", (recipe.node_dockerfile(rootfs, ""), *recipe.contents(node_files))),
    )


def stand_in_files() -> dict[str, bytes]:
    """The stand-in server as it goes into the base image, by path."""
    package = ROOM / "standin"
    sources = {f"sglang_standin/{path.relative_to(package)}": path for path in sorted(package.rglob("*.*"))}
    home = Path(deploy.__file__).parent
    sources |= {f"deploy/{name}.py": home / f"{name}.py" for name in CARRIED}
    sources |= {"launch_server.py": FILES / "launch-server"}
    missing = [str(path) for path in (package / "server.py", *sources.values()) if not path.is_file()]
    if missing:
        raise LabError(f"the lab's stand-in server is incomplete: no {missing[0]}", "is this a whole checkout?")
    return {name: path.read_bytes() for name, path in sources.items() if "__pycache__" not in name}


def present(host: Host, reference: str) -> bool:
    """Whether this machine's engine has the image."""
    return host.attempt(("docker", "image", "inspect", "--format", "{{.Id}}", reference)).code == 0


def python_of(host: Host, reference: str) -> str:
    """The Python of an image that is here, in two numbers."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    return host.run(("docker", "run", "--rm", "--network", "none", reference, "python3", "-c", show)).strip()


def make(host: Host, release: Release, wanted: Images) -> Iterator[Event]:
    """Make what is missing of the images; nothing is made twice."""
    if not present(host, wanted.rootfs):
        yield Note(f"making a minimal {release.codename} (debootstrap; once, about a minute)")
        make_rootfs(host, release, wanted.rootfs)
    jobs: list[Callable[[], None]] = []
    if not present(host, wanted.node):
        yield Note("making the node image (once, about a minute)")
        jobs.append(partial(make_node, host, wanted))
    if not present(host, wanted.base):
        yield Note("making the lab's base image: the real SGLang tree, with a stand-in for its GPU engine")
        jobs.append(partial(make_base, host, release, wanted))
    host.together(jobs)


def make_rootfs(host: Host, release: Release, reference: str) -> None:
    """A minimal system of this machine's own release, as an image."""
    targets = host.attempt(("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)")).out
    with _root_folder(host) as target:
        host.run(as_root(("install", "-D", "-m", "644", str(FILES / "dpkg-slim"), f"{target}/etc/dpkg/dpkg.cfg.d/lab")))
        host.run(as_root(recipe.debootstrap(release, target, recipe.mirror(targets, release))))
        change = ("--change", f'LABEL {recipe.STAND_IN}="part of the lab"')
        host.pipe(as_root(recipe.pack(target)), ("docker", "import", *change, "-", reference))


@contextmanager
def _root_folder(host: Host) -> Iterator[str]:
    """A folder that root fills; whatever was mounted below it is let go before it is removed."""
    parent = tempfile.mkdtemp(prefix="sglang-spark-lab-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        yield f"{parent}/root"
    finally:
        for mounted in ("proc", "sys"):
            host.attempt(as_root(("umount", "--recursive", "--quiet", f"{parent}/root/{mounted}")))
        host.attempt(as_root(("rm", "--recursive", "--force", "--one-file-system", parent)))


def make_node(host: Host, wanted: Images) -> None:
    """The image of a node and of the registry."""
    # Newer releases ship Docker's client apart from its engine.
    apart = ("sh", "-c", "apt-get update -q >/dev/null && apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli")
    client = host.attempt(("docker", "run", "--rm", "--network", "host", wanted.rootfs, *apart)).out.strip()
    with tempfile.TemporaryDirectory() as folder:
        for name in _NODE_FILES:
            shutil.copy(FILES / name, folder)
        _build(host, Path(folder), recipe.node_dockerfile(wanted.rootfs, client), wanted.node)


def make_base(host: Host, release: Release, wanted: Images) -> None:
    """The base image; SGLang's tree is kept as an image of its own, so that a changed stand-in costs a second."""
    if not present(host, wanted.tree):
        with tempfile.TemporaryDirectory() as folder:
            _fetch_tree(host, release, wanted.rootfs, Path(folder))
            _build(host, Path(folder), recipe.tree_dockerfile(wanted.rootfs), wanted.tree)
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), stand_in_files())
        _build(host, Path(folder), recipe.base_dockerfile(wanted.tree), wanted.base)


def _fetch_tree(host: Host, release: Release, rootfs: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise LabError("this Python has no pip, which the lab's base image is made with", "`python3 -m ensurepip`")
    site = folder / "site"
    python = python_of(host, rootfs)
    host.run((sys.executable, "-m", "pip", *recipe.wheels(python, release, str(site), str(LOCK))))
    (site / "sglang").rename(folder / "sglang")
    _trim(site)


def _trim(site: Path) -> None:
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        if not any(fnmatch.fnmatch(name, pattern) for pattern in recipe.TRIMMED):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _build(host: Host, folder: Path, dockerfile: str, reference: str) -> None:
    (folder / "Dockerfile").write_text(dockerfile)
    proxies = [word for name in _PROXIES if name in os.environ for word in ("--build-arg", name)]
    argv = ("docker", "build", "--quiet", "--force-rm", "--network", "host", *proxies, "--tag", reference, str(folder))
    # The classic builder needs no plug-in, and takes a FROM that only this engine has.
    host.run(argv, env={"DOCKER_BUILDKIT": "0"})
