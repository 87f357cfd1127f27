"""What the lab's images are made of: package lists, Dockerfiles and the hash that tags them. Makes no image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NAMESPACE = "sglang-spark-lab"
STAND_IN = "io.sglang-spark.stand-in"
MARKER = "/etc/sglang-spark-stand-in"
"""Says inside a container what the label says outside; the image's self-test reads it."""
LACKS = "lmsysorg/sglang:spark, without a GPU engine"
SITE = "/usr/lib/python3/dist-packages"
TREE = "/sgl-workspace/sglang/python"
STAND_IN_HOME = "/opt/sglang-standin"
PARSERS = "sglang.srt.function_call.function_call_parser, sglang.srt.parser.reasoning_parser"

ROOTFS_PACKAGES = ("python3", "ca-certificates")
NODE_PACKAGES = (
    *("openssh-server", "docker.io", "docker-registry", "tini", "iptables", "iproute2", "iputils-ping"),
    *("openssl", "procps", "util-linux", "kmod"),
)
LEFT_OUT = (
    *("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*"),
    *("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/info/*", "./usr/share/locale/*", "./usr/share/i18n/*"),
    *(
        "./usr/lib/python3*/lib2to3",
        "./usr/lib/python3*/pydoc_data",
        "./usr/share/zoneinfo/right/*",
        "./usr/share/zoneinfo/posix/*",
        "./usr/lib/*/gconv/*",
    ),
)
"""What the root file system leaves out: every node pulls it, and debootstrap's first step knows no dpkg-slim."""

TRIMMED = (
    *("bin", "*/tests", "numpy/_core/include", "numpy/_core/lib", "numpy/f2py"),
    *("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.hpp", "*.cpp"),
)
"""What no import needs, in the folder of the base image's Python packages."""


@dataclass(frozen=True)
class Release:
    """A Debian or Ubuntu release: the one this machine runs."""

    name: str
    codename: str
    architecture: str

    @property
    def components(self) -> str:
        return "main,universe" if self.name == "ubuntu" else "main"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """The platform tags of Python wheels that run on it."""
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(self.architecture, self.architecture)
        kinds = (
            "manylinux_2_28",
            "manylinux_2_27",
            "manylinux_2_17",
            "manylinux2014",
            "manylinux_2_12",
            "manylinux_2_5",
        )
        return tuple(f"{kind}_{machine}" for kind in kinds)


def read_release(os_release: str, architecture: str) -> Release:
    """The release that the text of /etc/os-release names; fields it lacks are empty."""
    pairs = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    values = {key: value.strip().strip('"') for key, value in pairs.items()}
    return Release(values.get("ID", ""), values.get("VERSION_CODENAME", ""), architecture)


def mirror(targets: str, release: Release) -> str:
    """The archive that `apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)'` names; empty if none."""
    for line in targets.splitlines():
        words = line.split()
        if words[:2] == [release.codename, "main"] and words[2].startswith("http"):
            return words[2].rstrip("/")
    return ""


def tag(name: str, parts: Iterable[str | bytes]) -> str:
    """A reference that changes whenever a part does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"{NAMESPACE}/{name}:{digest.hexdigest()[:16]}"


def contents(files: Mapping[str, bytes]) -> list[str | bytes]:
    """Names and contents, in an order of their own, as parts of a tag."""
    return [part for name in sorted(files) for part in (name, files[name])]


def debootstrap(release: Release, target: str, archive: str) -> tuple[str, ...]:
    """Fills `target` with a minimal system; needs root. Without an archive debootstrap takes the release's own."""
    include = ",".join(ROOTFS_PACKAGES)
    options = ("--variant=minbase", f"--include={include}", f"--components={release.components}")
    return ("debootstrap", *options, release.codename, target, *filter(None, (archive,)))


def pack(target: str) -> tuple[str, ...]:
    """Writes a root file system to stdout, without what only apt wants; needs root."""
    return ("tar", "-C", target, "--one-file-system", *(f"--exclude={path}" for path in LEFT_OUT), "-c", ".")


def wheels(python: str, release: Release, target: str, lock: str) -> tuple[str, ...]:
    """pip's arguments (after `python -m pip`) that fill `target` for another Python; every file is held to its hash."""
    platforms = [word for name in release.wheel_platforms for word in ("--platform", name)]
    return (
        *("install", "--quiet", "--no-deps", "--require-hashes", "--no-compile", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms),
        *("--target", target, "--requirement", lock),
    )


def node_dockerfile(rootfs: str, client: str) -> str:
    """The node image; `client` is "docker-cli" where the release ships Docker's client by itself, or empty."""
    packages = " ".join((*NODE_PACKAGES, *filter(None, (client,))))
    return f"""\
FROM {rootfs}
LABEL {STAND_IN}="a DGX Spark"
RUN apt-get update -q \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends {packages} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /etc/ssh/ssh_host_* /etc/docker/registry \\
 && usermod -p '*' root
COPY lab-node runc-clamp nvidia-smi nvidia-container-runtime-hook /usr/local/bin/
COPY sshd_config /etc/ssh/sshd_config
COPY lab-registry.yml /etc/lab-registry.yml
ENTRYPOINT ["/usr/local/bin/lab-node"]
"""


def tree_dockerfile(rootfs: str) -> str:
    """The real SGLang tree and what its parsers import; the import leaves compiled files for exactly those modules."""
    return f"""\
FROM {rootfs}
COPY site {SITE}
COPY sglang {TREE}/sglang
RUN echo {TREE} >{SITE}/sglang-tree.pth && python3 -c 'import {PARSERS}'
"""


def base_dockerfile(tree: str) -> str:
    """The lab's base image: as the real one from outside, with a stand-in where the GPU engine would be."""
    return f"""\
FROM {tree}
LABEL {STAND_IN}="{LACKS}"
RUN echo "{LACKS}" >{MARKER}
ENV SGLANG_SPARK_STANDIN_TIMER=sglang_standin.timer SGLANG_SPARK_STANDIN_COMPILER=sglang_standin.compiler
COPY launch_server.py {TREE}/sglang/launch_server.py
COPY deploy {STAND_IN_HOME}/deploy
COPY sglang_standin {STAND_IN_HOME}/sglang_standin
RUN echo {STAND_IN_HOME} >{SITE}/sglang-standin.pth && python3 -c 'import sglang_standin.server'
WORKDIR /sgl-workspace/sglang
CMD ["bash"]
"""
