"""The one error tree: each class has its exit code, each error a message (what, where) and a hint (what to do next)."""

from __future__ import annotations


class DeployError(Exception):
    """Shown once on stderr, without a traceback. Anything that is not one of these is a bug."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(DeployError):
    """cluster.yaml, a flag or a file that the user gave is wrong."""

    exit_code = 2


class BuildError(DeployError):
    """The image could not be rendered, built, pushed or found."""

    exit_code = 3


class RegistryError(BuildError):
    """A registry refused, did not answer, or gave something other than what was asked for."""


class CutError(RegistryError):
    """A registry failed, or the connection to it: worth another try, after `wait` seconds at least."""

    def __init__(self, message: str, hint: str = "", wait: float = 0.0) -> None:
        super().__init__(message, hint)
        self.wait = wait


class RemoteError(DeployError):
    """A node could not be reached, or a command on it failed."""

    exit_code = 4


class HostKeyError(RemoteError):
    """A node's host key is not the known one."""


class LockedError(RemoteError):
    """Another `up` or `down` is at work on the same cluster."""


class NotReadyError(DeployError):
    """The ranks started, but did not become ready together."""

    exit_code = 5


class BenchError(DeployError):
    """A measurement failed, or a result could not be read."""

    exit_code = 6


class RegressionError(BenchError):
    """A result is worse than the one that it was compared with."""

    exit_code = 11


class KernelError(DeployError):
    """A kernel table cannot run, or none could be read, proven or installed."""

    exit_code = 9


class ServiceError(DeployError):
    """The watch could not be made a service of this machine."""

    exit_code = 10


class TuneError(DeployError):
    """Nothing could be tuned, or what was measured could not be used."""

    exit_code = 7


class LabError(DeployError):
    """The lab lacks something on this machine, or one of its parts failed."""

    exit_code = 8
