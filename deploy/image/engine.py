"""The only home of the docker SDK: builds, pushes, and asks registries for digests. Decides nothing about content."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deploy.errors import BuildError
from deploy.event import Event, Note
from deploy.image.dockerfile import split_base
from deploy.image.failure import failure
from deploy.image.nccl import wheel
from deploy.image.order import RECIPE_LABEL, Order
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
        wheel = yield from _nccl(order)
        with order.context.archive(wheel) as archive:
            image = yield from built(_build(client, order, archive, digest, again=again))
        _keep(client, order, image)
        yield Note(f"built {order.reference} for {order.image.platform}", "done")
        return order.reference


def push(reference: str) -> Generator[Event, None, str]:
    """Push, unless the registry has the same digest; returns the digest. Raises BuildError."""
    with _client(f"pushing {reference}") as client:
        attrs, there = _inspect(client, reference), _registry_digest(client, reference)
        if there and (attrs is None or there == _digest_of(attrs, reference)):
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
        return _label(_inspect(client, reference), RECIPE_LABEL) == recipe


def resolve(reference: str) -> str:
    """The digest (sha256:...) that the registry has under the reference. Raises BuildError."""
    with _client(f"asking the registry for {reference}") as client:
        return str(client.images.get_registry_data(reference).id)


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
        raise _no_engine(str(error)) from None
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


def _no_engine(words: str) -> BuildError:
    error = failure("no Docker Engine answers", words)
    if "not yours" in error.message:
        return error
    return BuildError(
        f"no Docker Engine answers: {' '.join(words.split())}",
        "start it (`systemctl start docker`), or name one with DOCKER_HOST or `docker context use`",
    )


def _inspect(client: DockerClient, name: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound

    try:
        return dict(client.images.get(name).attrs or {})
    except ImageNotFound:
        return None


def _label(attrs: Mapping[str, Any] | None, name: str) -> str:
    """Engines leave empty parts of Config out, and some leave Config out."""
    labels = ((attrs or {}).get("Config") or {}).get("Labels") or {}
    return str(labels.get(name, ""))


def _there(client: DockerClient, order: Order) -> str:
    """Where the image is already: "here", "in the registry", or ""."""
    if _label(_inspect(client, order.reference), RECIPE_LABEL) == order.context.recipe:
        return "here"
    return "in the registry" if _registry_digest(client, order.reference) else ""


def _registry_digest(client: DockerClient, reference: str) -> str:
    """The digest in the registry; "" where it has none, or does not answer: the push itself says why."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return str(client.images.get_registry_data(reference).id)
    except (DockerException, RequestException):
        return ""


def _digest_of(attrs: Mapping[str, Any], reference: str) -> str:
    """The digest under which this repository has the image, as far as this engine knows; else ""."""
    repository = _repository(reference)
    for known in attrs.get("RepoDigests") or []:
        name, _, digest = known.partition("@")
        if name == repository:
            return str(digest)
    return ""


def _repository(reference: str) -> str:
    """As an engine writes it: without tag and digest, and without Docker Hub's own names."""
    name = re.sub(r":[^:/]*$", "", reference.partition("@")[0])
    return name.removeprefix("docker.io/").removeprefix("library/")


def _base(client: DockerClient, order: Order) -> Generator[Event, None, str]:
    """Have the base for the right platform; returns its digest, "" where it never was in a registry."""
    base, wanted = order.image.base, order.image.platform
    attrs = _inspect(client, base)
    if attrs is None or not _fits(attrs, wanted):
        yield from _pull(client, order, attrs)
        attrs = _inspect(client, base) or {}
    if not _fits(attrs, wanted):
        raise _misfit(f"the base {base}", attrs, wanted)
    pinned = split_base(base)[1]
    digest = pinned or _digest_of(attrs, base)
    if not pinned:
        advice = f"pin it with @{digest}" if digest else "it was never in a registry"
        yield Note(f"{base} may change under its tag: {advice}", "warning")
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
        misfit = _misfit(f"the base {base} that is here", here, wanted)
        raise BuildError(f"{misfit.message}; {error.message}", misfit.hint) from None


def _nccl(order: Order) -> Generator[Event, None, Path | None]:
    """NCCL's wheel, from the cache or by pip; the build itself has no network."""
    version, pin = order.image.nccl, order.context.pin
    if not version or not pin:
        return None
    yield Note(f"having NCCL {version} for {order.image.platform} at hand (200 MB, fetched once)")
    return wheel(version, order.image.platform, order.context.files[pin].content)


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
        labels={"org.opencontainers.image.base.digest": digest} if digest else None,
        network_mode="none",
        use_config_proxy=False,
    )
    return messages


def _keep(client: DockerClient, order: Order, image: str) -> None:
    """Tag what was built, or remove it where it is for another platform."""
    attrs = _inspect(client, image) or {}
    if not _fits(attrs, order.image.platform):
        client.api.remove_image(image)
        raise _misfit("what was built", attrs, order.image.platform)
    repository, _, tag = order.reference.rpartition(":")
    client.api.tag(image, repository, tag)


def _fits(attrs: Mapping[str, Any], platform: str) -> bool:
    """The variant counts only where both name one."""
    system, architecture, *variant = platform.split("/")
    known = attrs.get("Variant")
    if variant and known and variant[0] != known:
        return False
    return (attrs.get("Os"), attrs.get("Architecture")) == (system, architecture)


def _misfit(what: str, attrs: Mapping[str, Any], platform: str) -> BuildError:
    found = f"{attrs.get('Os')}/{attrs.get('Architecture')}"
    return BuildError(f"{what} is for {found}, not for {platform}", "set image.platform to what the nodes are")


def _push(client: DockerClient, reference: str) -> Generator[Event, None, str]:
    repository, _, tag = reference.rpartition(":")
    what = f"pushing {reference}"
    digest = yield from moved(what, client.api.push(repository, tag=tag, stream=True, decode=True))
    if not digest:
        raise BuildError(f"{what}: the registry named no digest", "push again; see the registry's log")
    return digest
