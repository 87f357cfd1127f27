"""All checks of a cluster in one go. Each check is in the module of its subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.errors import HostKeyError, RemoteError
from deploy.launch.doctor import api, fabric, fit, machine, model, room
from deploy.launch.doctor.check import MENDS, Check, allowing, bad, good, grouped
from deploy.launch.doctor.seen import Case

CHECKS = (
    *(machine.clock_skew, machine.architecture, machine.docker_engine, machine.gpu_runtime),
    *(machine.gpu_model, machine.gpu_driver, machine.foreign_memory),
    *(fabric.device, fabric.port, fabric.gid, fabric.address, fabric.not_management),
    *(fabric.mtu, fabric.reach, fabric.hca),
    *(room.memory_available, room.killed_container, room.disk_image, room.disk_model),
    *(model.snapshot, model.revision, machine.port_server, machine.port_rendezvous),
    *(machine.image_digest, machine.leftovers, api.api_open, fit.memory),
)


def examine(case: Case, refused: Mapping[int, RemoteError] | None = None) -> tuple[Check, ...]:
    """Every check of the nodes that were reached; a node that refused has only what its login told."""
    found = [*_logins(case, refused or {}), *(one for check in CHECKS for one in check(case))]
    return grouped(allowing(found, case.cluster.doctor.allow))


def _logins(case: Case, refused: Mapping[int, RemoteError]) -> Iterator[Check]:
    for rank in case.nodes:
        yield good("ssh.login", rank, "logged in")
        yield good("ssh.host-key", rank, "the key is the known one")
    for rank, error in refused.items():
        name = "ssh.host-key" if isinstance(error, HostKeyError) else "ssh.login"
        one = bad(name, rank, error.message, "a login with a known host key")
        yield Check(one.id, one.outcome, one.ranks, one.seen, one.needed, error.hint or MENDS[name])
