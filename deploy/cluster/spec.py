"""What the user asked for: cluster.yaml as frozen, checked values. Reads no file and knows no SGLang version."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deploy.cluster.grammar import (
    Base,
    Content,
    Folder,
    Host,
    Login,
    Mount,
    Name,
    Platform,
    Python,
    Repository,
    Text,
    Variable,
    Version,
    Word,
)

DEFAULT_SERVER: dict[str, Any] = {
    "tp": 4,
    "port": 30000,
    "host": "0.0.0.0",
    "trust-remote-code": True,
    "context-length": 32768,
    "max-running-requests": 64,
    "dist-timeout": 600,
    "tool-call-parser": "glm47",
    "reasoning-parser": "glm45",
    "speculative-algorithm": "EAGLE",
    "speculative-num-steps": 3,
    "speculative-num-draft-tokens": 8,
    "speculative-eagle-topk": 2,
}
"""The launch line that was proven on four Sparks; a flag set to null in cluster.yaml leaves it out."""

Port = Annotated[int, Field(ge=1, le=65535)]
Allowance = Literal["unknown-base", "unsafe-table"]
"""What a build may be told to do all the same; the image then says so in a label."""
Capability = Literal[
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
]  # fmt: skip
"""As in capabilities(7), without CAP_; there is no word for all of them."""
Flag = str | int | float | bool | list[str | int | float] | dict[str, Any] | None


OLDEST_NCCL = "2.29.3"
"""Older ones can lose an operation on aarch64 and hang for good (NVIDIA/nccl issue 2353)."""


class Strict(BaseModel):
    # Only the whole cluster is ever validated; building each part's validator would cost every start its time.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Image(Strict):
    """The base image and what is made of it."""

    base: Base = Field(
        "lmsysorg/sglang:spark", description="Base image; append @sha256:… to pin it. The base must carry SGLang."
    )
    sglang: Text = Field("0.5.4.post2", description="SGLang version inside the base: it decides which flags are legal.")
    triton: Version = Field(
        "3.5.0", description="Triton version inside the base: it decides where SGLang looks for kernel tables."
    )
    repository: Repository = Field(
        description="Where the image is pushed and pulled, without a tag: ghcr.io/OWNER/NAME."
    )
    platform: Platform = Field("linux/arm64", description="Platform of the nodes.")
    nccl: Version | None = Field(
        "2.30.7",
        description="NCCL that replaces the base's own; null leaves the base's, which the self-test then judges.",
    )
    tune: bool = Field(
        False,
        description="Put what `tune` runs on the nodes into this image; `--with-tune` makes such an image beside it.",
    )
    python: Python = Field(
        "3.12", description="Python inside the base, in quotes: it decides which wheels the tuning layer takes."
    )
    ray: Version = Field("2.59.0", description="Ray in the tuning layer.")
    patches: list[Name] = Field(
        default_factory=list,
        description="Optional sets of patches/ that are built in; `patches sets` lists them, `--with` adds one.",
    )
    allow: list[Allowance] = Field(
        default_factory=list,
        description="What the build does in spite of a warning. unknown-base: patch files that patches/ does not know; "
        "unsafe-table: kernel tables that cannot run.",
    )

    @property
    def with_tune(self) -> Image:
        """The image that `tune` runs on the nodes: the same with the tuning layer."""
        return self.model_copy(update={"tune": True})

    def with_patches(self, names: tuple[str, ...]) -> Image:
        """The same image with more optional sets of patches."""
        return self.model_copy(update={"patches": sorted({*self.patches, *names})})

    @field_validator("nccl")
    @classmethod
    def _does_not_hang(cls, value: str | None) -> str | None:
        if value and numbers(value) < numbers(OLDEST_NCCL):
            raise ValueError(f"must be {OLDEST_NCCL} or newer: older ones can hang for good on aarch64; or null")
        return value


def numbers(version: str) -> tuple[int, ...]:
    """A dotted version as numbers, which compare as versions do."""
    return tuple(int(part) for part in version.split("."))


class Model(Strict):
    """The model to serve."""

    path: Word = Field("zai-org/GLM-4.7-FP8", description="Hub name, or a path inside the container.")
    revision: Word | None = Field(None, description="Branch, tag or commit of the model.")


class Node(Strict):
    """One machine; its place in the list is its rank."""

    host: Host = Field(description="SSH host name, address or alias.")
    fabric: Text = Field(description="IPv4 address on the RDMA fabric.")
    port: Port | None = Field(None, description="SSH port, where it differs from ssh.port.")


class Ssh(Strict):
    """How to log in. ~/.ssh/config is read as well."""

    user: Login | None = Field(None, description="Login name; default: from ~/.ssh/config, else yours.")
    port: Port | None = Field(None, description="Default: from ~/.ssh/config, else 22.")
    identity: Text | None = Field(None, description="Private key file; default: the agent and ~/.ssh.")
    known_hosts: Text = Field("~/.ssh/known_hosts", description="Host keys; an unknown key is refused.")
    connect_timeout: Annotated[float, Field(gt=0, le=120)] = Field(10.0, description="Seconds.", strict=False)


class Mounts(Strict):
    """Folders on each node that outlive a container."""

    huggingface: Folder = Field("~/.cache/huggingface", description="Model snapshots.")
    compile: Folder = Field("~/.cache/sglang-spark", description="Compiled kernels.")
    extra: list[Mount] = Field(default_factory=list, description="More mounts: HOST:CONTAINER[:ro].")


class Rights(Strict):
    """What the containers of the ranks may do."""

    capabilities: list[Capability] = Field(
        default_factory=list,
        description="Linux capabilities beside DAC_OVERRIDE, such as SYS_PTRACE; without any a rank has no more.",
    )


class Kernels(Strict):
    """How kernels are compiled on the nodes."""

    native_fp8: bool = Field(
        False,
        description="fp8 instead of f16 arithmetic on GB10, which Triton 3.5 to 3.7 do not take; untested there.",
    )


Positive = Annotated[float, Field(gt=0, strict=False)]


class Watch(Strict):
    """How the running ranks are watched, and when they are started again."""

    restarts: Annotated[int, Field(ge=0)] = Field(3, description="Restarts within window_hours; 0: never restart.")
    window_hours: Positive = Field(6.0, description="Hours that restarts are counted over.")
    loading_minutes: Positive = Field(30.0, description="Minutes that ranks may take to become ready.")
    memory_floor_gib: Annotated[float, Field(ge=0, strict=False)] = Field(
        4.0, description="No restart while a node has less memory available than this, in GiB."
    )
    hang_seconds: Annotated[float, Field(ge=12, strict=False)] = Field(
        90.0,
        description="Rank 0 hangs when its health port says nothing good for so long; it is asked every 5 s.",
    )
    wedge_seconds: Positive = Field(
        120.0, description="Requests run and no token comes for so long: the server is wedged."
    )
    wedge_watts: Positive = Field(30.0, description="A GPU that draws more is at work, and not wedged.")
    text_seconds: Annotated[float, Field(ge=0, strict=False)] = Field(
        300.0, description="How often a short text is asked for and read; 0: never."
    )
    incidents: Annotated[int, Field(ge=1)] = Field(20, description="Incident folders that are kept.")
    incidents_mib: Positive = Field(512.0, description="Size that they may have together, in MiB.")

    @property
    def memory_floor(self) -> float:
        """In bytes."""
        return self.memory_floor_gib * 2**30


class Doctor(Strict):
    """What is checked before ranks start."""

    allow: list[Text] = Field(default_factory=list, description="Ids of checks whose failure is only a warning.")


class Cluster(Strict):
    """One file, one server."""

    name: Name = Field(description="Labels and container names carry it.")
    image: Image
    model: Model = Field(default_factory=lambda: Model())
    nodes: Annotated[list[Node], Field(min_length=1)] = Field(description="In rank order; the first serves the API.")
    ssh: Ssh = Field(default_factory=lambda: Ssh())
    rendezvous_port: Port = Field(50000, description="Where the ranks meet, on the first node's fabric address.")
    mounts: Mounts = Field(default_factory=lambda: Mounts())
    container: Rights = Field(default_factory=lambda: Rights())
    kernels: Kernels = Field(default_factory=lambda: Kernels())
    server: dict[str, Flag] = Field(
        default_factory=dict, description="SGLang's own flags, without the dashes in front; null drops a default."
    )
    environment: dict[Variable, Content] = Field(default_factory=dict, description="For every rank; not for secrets.")
    secrets: list[Variable] = Field(
        default_factory=list, description="Names of variables of your shell that the ranks get, hidden."
    )
    api_key: Variable | None = Field(
        None, description="Name of the variable of your shell that holds the key which the API asks for."
    )
    watch: Watch = Field(default_factory=lambda: Watch())
    doctor: Doctor = Field(default_factory=lambda: Doctor())

    @property
    def head(self) -> Node:
        return self.nodes[0]
