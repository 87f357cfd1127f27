"""The docker command lines of the lab's containers, as tuples. Runs none of them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.lab.layout import FOLDER_LABEL, LABEL, Layout

SYS_RESOURCE = 1 << 24
"""CAP_SYS_RESOURCE in a capability mask: without it nobody may raise a limit, and `--privileged` is refused."""

_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND"
)

_FOUND_FORMAT = "\t".join(
    ["{{.Names}}", "{{.State}}"] + [f'{{{{.Label "{LABEL}{key}"}}}}' for key in (".role", ".address", ".recipe", "")]
)


@dataclass(frozen=True)
class Found:
    """A container of a lab as Docker shows it; `state` is docker's word: running, paused, exited…"""

    name: str
    state: str
    role: str
    address: str
    recipe: str
    slug: str

    @property
    def hostname(self) -> str:
        return self.name.rsplit("-", 1)[-1]


def privileges(capabilities: int) -> tuple[str, ...]:
    """What lets a container hold an engine of its own, given this machine's capability bounding set."""
    if capabilities & SYS_RESOURCE:
        return ("--privileged", "--ulimit", "memlock=-1", "--ulimit", "nofile=1048576:1048576")
    options = ["--device-cgroup-rule", "a *:* rwm"]
    for option in ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"):
        options += ["--security-opt", option]
    for name in _CAPABILITIES.split():
        options += ["--cap-add", name]
    return tuple(options)


def bounding_set(status: str) -> int:
    """The capability mask in the text of /proc/self/status."""
    line = next(line for line in status.splitlines() if line.startswith("CapBnd:"))
    return int(line.split()[1], 16)


def network(layout: Layout) -> tuple[str, ...]:
    """Creates the bridge; nothing on it reaches beyond this machine."""
    where = ("--subnet", str(layout.subnet), "--gateway", str(layout.gateway))
    return ("docker", "network", "create", "--internal", *where, *layout.labels, layout.slug)


def node(layout: Layout, index: int, image: str, recipe: str, capabilities: int) -> tuple[str, ...]:
    """Starts one node."""
    name, address = layout.node_name(index), str(layout.node_address(index))
    return (
        *("docker", "run", "--detach", "--name", name, "--hostname", f"spark{index}"),
        *_place(layout, "node", address, recipe),
        *privileges(capabilities),
        *("--tmpfs", "/run", "--env", f"LAB_REGISTRY={layout.registry}", "--env", f"LAB_DISK={layout.disk}"),
        *_volume(layout, f"{name}-docker", "/var/lib/docker"),
        *("--volume", f"{layout.folder}/node:/etc/lab:ro", image, "node"),
    )


def registry(layout: Layout, image: str, recipe: str) -> tuple[str, ...]:
    """Starts the registry; its volume is a cache that outlives the lab."""
    return (
        *("docker", "run", "--detach", "--name", layout.registry_name, "--hostname", "registry"),
        *_place(layout, "registry", str(layout.registry_address), recipe),
        *_volume(layout, layout.registry_name, "/var/lib/registry"),
        # For the limit on what it sends (faults.py); its network is its own.
        *("--cap-add", "NET_ADMIN"),
        *("--volume", f"{layout.folder}/registry:/etc/lab:ro", image, "registry"),
    )


def _place(layout: Layout, role: str, address: str, recipe: str) -> tuple[str, ...]:
    marks = {"role": role, "address": address, "recipe": recipe}
    labels = [word for key, value in marks.items() for word in ("--label", f"{LABEL}.{key}={value}")]
    return (*layout.labels, *labels, "--network", layout.slug, "--ip", address)


def _volume(layout: Layout, name: str, target: str) -> tuple[str, ...]:
    return ("--mount", f"type=volume,source={name},target={target},volume-label={LABEL}={layout.slug}")


def listing(folder: str) -> tuple[str, ...]:
    """Lists a lab's containers, for `read_listing`."""
    return ("docker", "ps", "--all", "--filter", f"label={FOLDER_LABEL}={folder}", "--format", _FOUND_FORMAT)


def read_listing(text: str) -> list[Found]:
    """What `listing` printed: the registry first, then the nodes in order."""
    found = [Found(*line.split("\t")) for line in text.splitlines() if line.strip()]
    return sorted(found, key=lambda one: (one.role != "registry", len(one.name), one.name))
