"""What the user asked for: cluster.yaml as frozen, checked values. Reads no file and knows no SGLang version."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

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

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Allowance = Literal["unknown-base"]
"""What a build may be told to do all the same; the image then says so in a label."""
Flag = str | int | float | bool | list[str | int | float] | dict[str, Any] | None


class Strict(BaseModel):
    # Only the whole cluster is ever validated; building each part's validator would cost every start its time.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Image(Strict):
    """The base image and what is made of it."""

    base: Text = Field(
        "lmsysorg/sglang:spark", description="Base image; append @sha256:… to pin it. The base must carry SGLang."
    )
    sglang: Text = Field("0.5.4.post2", description="SGLang version inside the base: it decides which flags are legal.")
    triton: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = Field(
        "3.5.0", description="Triton version inside the base: it decides where SGLang looks for kernel tables."
    )
    repository: Text = Field(description="Where the image is pushed and pulled, without a tag: ghcr.io/OWNER/NAME.")
    platform: Annotated[str, StringConstraints(pattern=r"^linux/[a-z0-9]+(/v\d)?$")] = Field(
        "linux/arm64", description="Platform of the nodes."
    )
    allow: list[Allowance] = Field(
        default_factory=list,
        description="What the build does in spite of a warning. unknown-base: patch files that patches/ does not know.",
    )

    @field_validator("repository")
    @classmethod
    def _has_no_tag(cls, value: str) -> str:
        if "@" in value or ":" in value.rsplit("/", 1)[-1]:
            raise ValueError("is a repository without tag or digest: the tag is computed from what is built")
        return value


class Model(Strict):
    """The model to serve."""

    path: Text = Field("zai-org/GLM-4.7-FP8", description="Hub name, or a path inside the container.")
    revision: Text | None = Field(None, description="Branch, tag or commit of the model.")


class Node(Strict):
    """One machine; its place in the list is its rank."""

    host: Text = Field(description="SSH host name, address or alias.")
    fabric: Text = Field(description="IPv4 address on the RDMA fabric.")
    port: Port | None = Field(None, description="SSH port, where it differs from ssh.port.")


class Ssh(Strict):
    """How to log in. ~/.ssh/config is read as well."""

    user: Text | None = Field(None, description="Login name; default: from ~/.ssh/config, else yours.")
    port: Port | None = Field(None, description="Default: from ~/.ssh/config, else 22.")
    identity: Text | None = Field(None, description="Private key file; default: the agent and ~/.ssh.")
    known_hosts: Text = Field("~/.ssh/known_hosts", description="Host keys; an unknown key is refused.")
    connect_timeout: Annotated[float, Field(gt=0, le=120)] = Field(10.0, description="Seconds.", strict=False)


class Mounts(Strict):
    """Folders on each node that outlive a container."""

    huggingface: Text = Field("~/.cache/huggingface", description="Model snapshots.")
    compile: Text = Field("~/.cache/sglang-spark", description="Compiled kernels.")
    extra: list[Text] = Field(default_factory=list, description="More mounts: HOST:CONTAINER[:ro].")


class Cluster(Strict):
    """One file, one server."""

    name: Name = Field(description="Labels and container names carry it.")
    image: Image
    model: Model = Field(default_factory=lambda: Model())
    nodes: Annotated[list[Node], Field(min_length=1)] = Field(description="In rank order; the first serves the API.")
    ssh: Ssh = Field(default_factory=lambda: Ssh())
    rendezvous_port: Port = Field(50000, description="Where the ranks meet, on the first node's fabric address.")
    mounts: Mounts = Field(default_factory=lambda: Mounts())
    server: dict[str, Flag] = Field(
        default_factory=dict, description="SGLang's own flags, without the dashes in front; null drops a default."
    )
    environment: dict[Variable, str] = Field(default_factory=dict, description="For every rank; not for secrets.")
    secrets: list[Variable] = Field(
        default_factory=list, description="Names of variables of your shell that the ranks get, hidden."
    )

    @property
    def head(self) -> Node:
        return self.nodes[0]
