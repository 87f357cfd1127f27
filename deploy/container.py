"""Docker command lines as data: argument vectors and label names; nothing here runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL = "io.sglang-spark"
CLUSTER, RANK, DIGEST, LAUNCH = f"{LABEL}.cluster", f"{LABEL}.rank", f"{LABEL}.digest", f"{LABEL}.launch"


@dataclass(frozen=True)
class Container:
    """One container as `docker run` takes it; the server is its main process."""

    name: str
    image: str
    argv: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


NO_RIGHTS = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
"""Nothing that root may do beyond what any user may, and no way to get it."""
NEEDED = ("DAC_OVERRIDE",)
"""Root in the container reads the model cache and writes the compile cache, which belong to the user of the node.

RDMA needs no IPC_LOCK, since memlock is a limit here; tini signals processes of its own user; and SYS_PTRACE, with
which py-spy would show stacks when SGLang's watchdog ends a rank, is no right to give to a server.
"""


def run(container: Container) -> tuple[str, ...]:
    """`docker run` for a rank: host network, all GPUs, an init as PID 1, locked memory for RDMA, few rights."""
    return ("docker", "run", "--detach", *_options(container), container.image, *container.argv)


def run_once(container: Container) -> tuple[str, ...]:
    """`docker run` with a rank's own options for what ends by itself: it stays in front, and leaves no container."""
    return ("docker", "run", "--rm", *_options(container), container.image, *container.argv)


def _options(container: Container) -> list[str]:
    options: list[str] = ["--init", "--name", container.name, "--network", "host", "--ipc", "host"]
    options += ["--gpus", "all", "--ulimit", "memlock=-1", "--ulimit", "stack=67108864"]
    # Engine 29 lowered the default of nofile to 1024, too few for NCCL and the model's shards.
    options += ["--ulimit", "nofile=1048576:1048576"]
    options += NO_RIGHTS
    options += [word for name in dict.fromkeys((*NEEDED, *container.capabilities)) for word in ("--cap-add", name)]
    options += [word for device in container.devices for word in ("--device", device)]
    options += [word for key, value in container.labels.items() for word in ("--label", f"{key}={value}")]
    options += [word for key, value in container.environment.items() for word in ("--env", f"{key}={value}")]
    options += [word for mount in container.mounts for word in ("--volume", mount)]
    return options


def pull(reference: str, *, quiet: bool = False) -> tuple[str, ...]:
    return ("docker", "pull", *(("--quiet",) if quiet else ()), reference)


SELF_TESTED = "self-tested"
"""The tag that an image gets on a node where its self-test passed: the proof lies with the image and goes with it."""
_SELF_TEST = """
docker run --rm --network none --cap-drop ALL --security-opt no-new-privileges \\
  --workdir /opt/sglang-spark --entrypoint python3 "$1" -m deploy.inside.selftest --json &&
docker tag "$1" "$2"
"""


def self_test(image: str, repository: str) -> tuple[str, ...]:
    """Run the self-test of NAME@DIGEST, without GPU, network or secrets; print its JSON, keep that it passed."""
    return ("sh", "-c", _SELF_TEST.strip(), "sh", image, f"{repository}:{SELF_TESTED}")


def self_test_alone(image: str) -> tuple[str, ...]:
    """The same, and nothing kept of it."""
    module = ("-m", "deploy.inside.selftest", "--json")
    place = ("--workdir", "/opt/sglang-spark", "--entrypoint", "python3")
    return ("docker", "run", "--rm", "--network", "none", *NO_RIGHTS, *place, image, *module)


def logs(name: str, *, follow: bool = False, tail: int | None = None, since: float = 0.0) -> tuple[str, ...]:
    """`since`: only what was said in the last so many seconds."""
    options = [*(["--follow"] if follow else []), *(["--tail", str(tail)] if tail is not None else [])]
    options += [f"--since={since:.1f}s"] if since else []
    return ("docker", "logs", *options, name)


def release_shards(name: str, model: str) -> tuple[str, ...]:
    """Give back the page cache of a model's shards from within a container, until the input ends."""
    module = ("python3", "-m", "deploy.inside.pagecache", model)
    return ("docker", "exec", "--interactive", "--workdir", "/opt/sglang-spark", name, *module)


def remove(*names: str) -> tuple[str, ...]:
    """Remove containers, running or not; a name that is not there is no error to `docker rm --force`."""
    return ("docker", "rm", "--force", "--volumes", *names)
