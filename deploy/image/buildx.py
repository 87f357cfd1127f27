"""The Dockerfile by `docker buildx build`: the only home of that command. Knows no registry and no SDK."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image.dockerfile import split_base
from deploy.image.failure import step_failure
from deploy.image.order import BASE_DIGEST, Order, may_move
from deploy.image.pinned import at_hand
from deploy.image.stream import LAST_LINES

DIGEST = "containerimage.digest"


def argv(order: Order, metadata: str, *, again: bool, push: bool) -> tuple[str, ...]:
    """The command; its input is the context. What it makes is one manifest, as the other engines make it."""
    arguments = [word for name, value in order.arguments.items() for word in ("--build-arg", f"{name}={value}")]
    digest = split_base(order.image.base)[1]
    return (
        *("docker", "buildx", "build", "--progress", "plain", "--network", "none", "--provenance=false"),
        *("--platform", order.image.platform, "--tag", order.reference, *arguments),
        *(("--label", f"{BASE_DIGEST}={digest}") if digest else ()),
        *(("--no-cache",) if again else ()),
        *("--metadata-file", metadata, "--push" if push else "--load", "-"),
    )


def build(order: Order, *, again: bool = False, push: bool = False) -> Generator[Event, None, str]:
    """Build, and push or load; returns the digest where it was pushed, else "". Raises BuildError."""
    _check_installed()
    if warning := may_move(order.image.base, ""):
        yield warning
    wheels = yield from at_hand(order.image, order.context.pins)
    with tempfile.TemporaryDirectory() as folder, order.context.archive(wheels) as archive:
        metadata = Path(folder, "metadata.json")
        yield from _run(argv(order, str(metadata), again=again, push=push), archive)
        digest = str(json.loads(metadata.read_text(encoding="utf-8")).get(DIGEST, "")) if push else ""
    if push and not digest:
        raise BuildError("buildx named no digest of what it pushed", "update docker buildx")
    yield Note(f"{'pushed' if push else 'built'} {order.reference} for {order.image.platform}", "done")
    return digest


def _check_installed() -> None:
    """Raises BuildError where there is no buildx."""
    try:
        done = subprocess.run(("docker", "buildx", "version"), capture_output=True, text=True, timeout=60, check=False)
        said = "" if done.returncode == 0 else (done.stderr or done.stdout).strip().partition("\n")[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        hint = "install docker-buildx-plugin, or take --engine append or docker"
        raise BuildError(f"`docker buildx` is not here: {said}", hint)


def _run(command: Sequence[str], archive: IO[bytes]) -> Generator[Event, None, None]:
    """Say what it says. Raises BuildError with the step that failed and its last lines."""
    lines: deque[str] = deque(maxlen=LAST_LINES)
    step = "its start"
    process = subprocess.Popen(command, stdin=archive, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout or ():
            if shown := line.rstrip():
                step = shown if "] RUN " in shown or "] COPY " in shown else step
                lines.append(shown)
                yield Note(shown)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
    if process.returncode:
        raise step_failure(step, f"`docker buildx build` ended with {process.returncode}", list(lines))
