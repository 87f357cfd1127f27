"""The base, copied once into a repository of one's own, byte for byte. Changes nothing of it."""

from __future__ import annotations

from collections.abc import Generator

from deploy.cluster.spec import Image
from deploy.errors import RegistryError
from deploy.event import Event, Note
from deploy.registry.lookup import image as found
from deploy.registry.lookup import repository
from deploy.registry.name import parse
from deploy.registry.transfer import copied


def mirror(image: Image) -> Generator[Event, None, str]:
    """Copy what is missing, the manifest last; returns REPOSITORY:TAG@DIGEST, for image.base. Raises RegistryError.

    It goes on where an earlier one stopped, since blobs that are there are not sent again.
    """
    base, own = parse(image.base), parse(image.repository)
    with repository(base) as source, repository(own) as target:
        manifest = found(source, base.reference, image.platform).manifest
        digest, tag = manifest.digest, f"base-{manifest.digest[7:19]}"
        if target.digest(tag) == digest:
            yield Note(f"{target} has {base} already: {digest}", "done")
        else:
            yield Note(f"copying {base} for {image.platform} into {target}")
            yield from copied(source, target, manifest)
            target.put(manifest.raw, manifest.media_type, tag)
            if target.digest(digest) != digest:
                raise RegistryError(f"{target}: {digest} was sent and is not there", "see the registry's log")
            yield Note(f"copied {base} to {target}:{tag}", "done")
        return f"{own.bare}:{tag}@{digest}"
