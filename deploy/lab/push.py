"""Puts the lab's base image into the lab's registry."""

from __future__ import annotations

import re

from deploy.errors import LabError
from deploy.lab.host import Host
from deploy.lab.layout import Layout

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def push_base(host: Host, layout: Layout, image: str) -> str:
    """The digest under which the registry has the base now; layers that it has already are not sent again."""
    host.run(("docker", "tag", image, layout.base))
    said = host.run(("docker", "--config", str(layout.docker_config), "push", layout.base))
    return pushed_digest(said)


def pushed_digest(said: str) -> str:
    """The digest in what `docker push` printed; raises LabError where there is none."""
    found = _DIGEST.findall(said)
    if not found:
        raise LabError(f"docker push named no digest; it ended with: {said.strip()[-200:]}", "run `lab up` again")
    return str(found[-1])
