"""The only home of the docker SDK: builds and pushes. Decides nothing about content."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from deploy.errors import BuildError, ConfigError, RegistryError
from deploy.event import Event, Note
from deploy.image.attributes import digest_of, fits, label, misfit
from deploy.image.dockerfile import split_base
from deploy.image.failure import failure, no_engine
from deploy.image.order import BASE_DIGEST, RECIPE_LABEL, Order, may_move
from deploy.image.pinned import at_hand
from deploy.image.stream import Message, built, moved

if TYPE_CHECKING:
    from docker import DockerClient

SILENCE = 600
"""Seconds that the Docker Engine may say nothing; the SDK's 60 are too few for a large layer."""


def build(order: Order, *, again: bool = False) -> Generator[Event, None, str]:
    """Build and tag, unless the same recipe is here or in the registry; returns the reference. Raises BuildError."""
    with _client(f"building {order.reference}") as client:
        where = "" if again else _there(client, order)
        if where:
            yield Note(f"{order.reference} is {where} already: nothing to build", "done")
            return order.reference
        digest = yield from _base(client, order)
        wheels = yield from at_hand(order.image, order.context.pins)
        with order.context.archive(wheels) as archive:
            image = yield from built(_build(client, order, archive, digest, again=again))
        _keep(client, order, image)
        yield Note(f"built {order.reference} for {order.image.platform}", "done")
        return order.reference


def push(reference: str) -> Generator[Event, None, str]:
    """Push, unless the registry has the same digest; returns the digest. Raises BuildError."""
    with _client(f"pushing {reference}") as client:
        attrs = _inspect(client, reference)
        there = _in_registry(reference, surely=attrs is None)
        if there and (attrs is None or there == digest_of(attrs, reference)):
            yield Note(f"the registry has {reference} already: {there}", "done")
            return there
        if attrs is None:
            raise BuildError(f"{reference} is neither here nor in the registry", "run `build` first")
        digest = yield from _push(client, reference)
        if there:
            yield Note(f"the registry had another build of {reference} ({there}); the tag moved", "warning")
        yield Note(f"pushed {reference}: {digest}", "done")
        return digest


def present(reference: str, recipe: str) -> bool:
    """Does the Docker Engine here hold this reference, made from this recipe? Raises BuildError."""
    with _client(f"looking for {reference}") as client:
        return label(_inspect(client, reference), RECIPE_LABEL) == recipe


def size(reference: str) -> int:
    """Bytes of an image unpacked, 0 where this machine's Docker Engine does not hold it. Raises BuildError."""
    with _client(f"looking for {reference}") as client:
        return int((_inspect(client, reference) or {}).get("Size") or 0)


def read_files(reference: str, folder: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Files below a folder of an image that is here, as far as they are there; nothing runs. Raises BuildError."""
    with _contents(reference) as (client, made):
        return {path: content for path in paths if (content := _file(client, made, f"{folder}/{path}")) is not None}


def read_folder(reference: str, folder: str) -> tuple[bytes | None, str]:
    """A folder of an image that is here as a tar, None where it has none, and the image's id. Raises BuildError."""
    with _contents(reference) as (client, made):
        return _packed(client, made, folder), str((_inspect(client, reference) or {})["Id"])


@contextmanager
def _contents(reference: str) -> Iterator[tuple[DockerClient, str]]:
    """A client, and a container that is never started, whatever its command. Raises BuildError."""
    with _client(f"reading {reference}") as client:
        if _inspect(client, reference) is None:
            raise BuildError(f"{reference} is not here", f"`docker pull {reference}`, or name a folder that exists")
        made = client.api.create_container(reference, command=["none"])["Id"]
        try:
            yield client, made
        finally:
            client.api.remove_container(made)


@contextmanager
def _client(what: str) -> Iterator[DockerClient]:
    """A client of the engine that the docker command would use. Raises BuildError."""
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    client = None
    try:
        client = docker.from_env(timeout=SILENCE)
        client.ping()
    except (DockerException, RequestException) as error:
        if client:
            client.close()
        raise no_engine(str(error)) from None
    try:
        with _translated(what):
            yield client
    finally:
        client.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """What the SDK raises leaves as a BuildError that says what was being done."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise failure(what, error.explanation or str(error)) from None
    except (DockerException, RequestException) as error:
        raise failure(what, str(error) or type(error).__name__) from None


def _packed(client: DockerClient, container: str, path: str) -> bytes | None:
    """A file or folder of a container as a tar; None where there is none."""
    from docker.errors import NotFound

    with suppress(NotFound):
        return b"".join(client.api.get_archive(container, path)[0])
    return None


def _file(client: DockerClient, container: str, path: str) -> bytes | None:
    """The content of a plain file of a container; None where there is none."""
    if (packed := _packed(client, container, path)) is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.next()
        content = archive.extractfile(member) if member and member.isfile() else None
        return content.read() if content else None


def _inspect(client: DockerClient, name: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound

    try:
        return dict(client.images.get(name).attrs or {})
    except ImageNotFound:
        return None


def _there(client: DockerClient, order: Order) -> str:
    """Where the image is already: "here", "in the registry", or ""."""
    if label(_inspect(client, order.reference), RECIPE_LABEL) == order.context.recipe:
        return "here"
    return "in the registry" if _in_registry(order.reference, surely=False) else ""


def _in_registry(reference: str, *, surely: bool) -> str:
    """The digest in the registry, "" where it has none. Where it cannot be asked, that is a RegistryError or a
    ConfigError only if it is to be known `surely`; else what comes next says why."""
    from deploy.registry.lookup import digest

    try:
        return digest(reference)
    except (RegistryError, ConfigError):
        if surely:
            raise
        return ""


def _base(client: DockerClient, order: Order) -> Generator[Event, None, str]:
    """Have the base for the right platform; returns its digest, "" where it never was in a registry."""
    base, wanted = order.image.base, order.image.platform
    attrs = _inspect(client, base)
    if attrs is None or not fits(attrs, wanted):
        yield from _pull(client, order, attrs)
        attrs = _inspect(client, base) or {}
    if not fits(attrs, wanted):
        raise misfit(f"the base {base}", attrs, wanted)
    digest = split_base(base)[1] or digest_of(attrs, base)
    if warning := may_move(base, digest):
        yield warning
    return digest


def _pull(client: DockerClient, order: Order, here: Mapping[str, Any] | None) -> Generator[Event, None, None]:
    """Pull the base; `here` is what its name stands for so far, which is for another platform."""
    base, wanted = order.image.base, order.image.platform
    yield Note(f"pulling {base} for {wanted}")
    try:
        with _translated(f"pulling {base}"):
            yield from moved(f"pulling {base}", client.api.pull(base, platform=wanted, stream=True, decode=True))
    except BuildError as error:
        if here is None:
            raise
        wrong = misfit(f"the base {base} that is here", here, wanted)
        raise BuildError(f"{wrong.message}; {error.message}", wrong.hint) from None


def _build(client: DockerClient, order: Order, archive: IO[bytes], digest: str, *, again: bool) -> Iterator[Message]:
    """The stream of the build. It needs no network, and no tag before the result has been looked at."""
    messages: Iterator[Message] = client.api.build(
        fileobj=archive,
        custom_context=True,
        decode=True,
        rm=True,
        forcerm=True,
        nocache=again,
        platform=order.image.platform,
        buildargs=dict(order.arguments),
        labels={BASE_DIGEST: digest} if digest else None,
        network_mode="none",
        use_config_proxy=False,
    )
    return messages


def _keep(client: DockerClient, order: Order, image: str) -> None:
    """Tag what was built, or remove it where it is for another platform."""
    attrs = _inspect(client, image) or {}
    if not fits(attrs, order.image.platform):
        client.api.remove_image(image)
        raise misfit("what was built", attrs, order.image.platform)
    repository, _, tag = order.reference.rpartition(":")
    client.api.tag(image, repository, tag)


def _push(client: DockerClient, reference: str) -> Generator[Event, None, str]:
    repository, _, tag = reference.rpartition(":")
    what = f"pushing {reference}"
    digest = yield from moved(what, client.api.push(repository, tag=tag, stream=True, decode=True))
    if not digest:
        raise BuildError(f"{what}: the registry named no digest", "push again; see the registry's log")
    return digest
