"""Ways in which a lab node fails and recovers, as docker command lines; `cause` carries one out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.errors import ConfigError
from deploy.lab.host import Host
from deploy.lab.machine import Found, listing, read_listing

KINDS = {
    "pause": "freeze every process of the node; its connections stay open",
    "unpause": "thaw it",
    "cut": "drop every packet from and to the node",
    "cut-in": "drop every packet to the node; what it sends arrives",
    "cut-out": "drop every packet from the node; what is sent to it arrives",
    "heal": "let all packets through again, whatever was cut",
    "slow": "limit what the node sends to --rate",
    "fast": "lift that limit",
    "lossy": "lose --loss percent of the packets in each direction, at random",
    "lossless": "lose none",
    "poweroff": "the node loses its power",
    "poweron": "it starts again",
    "engine-stop": "stop the node's Docker Engine",
    "engine-kill": "kill the node's Docker Engine; its containers run on",
    "engine-start": "start it again",
    "fill": "fill the disk of the node's Docker Engine; needs a lab with --disk",
    "free": "give the space back",
    "ssh-cut": "end every SSH session of the node; new ones are taken",
    "clock-back": "a stand-in: `date` in a login is an hour behind; the kernel's clock is not touched",
    "clock-right": "`date` is right again",
    "registry-stop": "the registry dies",
    "registry-slow": "limit what the registry sends to --rate",
    "registry-fast": "lift that limit",
    "registry-start": "the registry starts again",
}
_DATE = "/usr/local/sbin/date"
_LATE = f"""printf '#!/bin/sh\\nexec /usr/bin/date --date="1 hour ago" "$@"\\n' > {_DATE}; chmod +x {_DATE}"""


@dataclass(frozen=True)
class Strength:
    """How bad a fault is: `rate` of `slow` as tc writes it, `loss` of `lossy` in percent."""

    rate: str = "10mbit"
    loss: float = 20


def of_registry(kind: str) -> bool:
    """Whether a fault is the registry's and not a node's."""
    return kind.startswith("registry-")


def commands(kind: str, name: str, how: Strength = Strength()) -> tuple[tuple[str, ...], ...]:
    """The commands that do `kind` to the container `name`. Raises ConfigError."""
    inside = ("docker", "exec", name)
    shell = (*inside, "sh", "-c")
    lost = f"-m statistic --mode random --probability {how.loss / 100:.4f}"
    limit = ((*inside, *f"tc qdisc replace dev eth0 root tbf rate {how.rate} burst 64kb latency 50ms".split()),)
    unlimited = ((*inside, "tc", "qdisc", "del", "dev", "eth0", "root"),)
    table: dict[str, tuple[tuple[str, ...], ...]] = {
        "pause": (("docker", "pause", name),),
        "unpause": (("docker", "unpause", name),),
        "cut": (_drop(inside, "INPUT", "-i"), _drop(inside, "OUTPUT", "-o")),
        "cut-in": (_drop(inside, "INPUT", "-i"),),
        "cut-out": (_drop(inside, "OUTPUT", "-o"),),
        "heal": ((*shell, _through("")),),
        "slow": limit,
        "fast": unlimited,
        "lossy": (_drop(inside, "INPUT", "-i", lost), _drop(inside, "OUTPUT", "-o", lost)),
        "lossless": ((*shell, _through(lost)),),
        # A machine without power says nothing more: its kernel must not end the connections of what is killed.
        "poweroff": (_drop(inside, "OUTPUT", "-o"), ("docker", "kill", name)),
        "poweron": (("docker", "start", name), (*inside, "lab-node", "node-ready")),
        "ssh-cut": ((*shell, "pkill -KILL -P $(cat /run/sshd.pid) || true"),),
        "clock-back": ((*shell, _LATE),),
        "clock-right": ((*inside, "rm", "-f", _DATE),),
        "registry-stop": (("docker", "kill", name),),
        "registry-slow": limit,
        "registry-fast": unlimited,
        "registry-start": (("docker", "start", name), (*inside, "lab-node", "registry-ready")),
    }
    table |= {verb: ((*inside, "lab-node", verb),) for verb in ("engine-stop", "engine-kill", "engine-start")}
    table |= {verb: ((*inside, "lab-node", f"disk-{verb}"),) for verb in ("fill", "free")}
    if kind not in table:
        raise ConfigError(f"no such fault: {kind}", "one of: " + ", ".join(KINDS))
    return table[kind]


def _drop(inside: tuple[str, ...], chain: str, side: str, match: str = "") -> tuple[str, ...]:
    return (*inside, "iptables", "--wait", "-I", chain, "1", side, "eth0", *match.split(), "-j", "DROP")


def _through(match: str) -> str:
    """A script that takes out every rule of ours, however many there are."""
    rules = (f"iptables --wait -D {chain} eth0 {match} -j DROP" for chain in ("INPUT -i", "OUTPUT -o"))
    return "while " + " || ".join(rules) + "; do :; done 2>/dev/null"


def cause(host: Host, folder: Path, kind: str, index: int = -1, how: Strength = Strength()) -> None:
    """Do `kind` to the node with this index, or to the registry; raises ConfigError where the lab has none such."""
    found = read_listing(host.run(listing(str(folder.resolve()))))
    for argv in commands(kind, _name(found, kind, index, folder), how):
        host.run(argv)


def _name(found: list[Found], kind: str, index: int, folder: Path) -> str:
    wanted = "registry" if of_registry(kind) else f"spark{index}"
    name = next((one.name for one in found if one.hostname == wanted), None)
    if name is None:
        what = "registry" if of_registry(kind) else f"node {index}"
        raise ConfigError(f"the lab in {folder} has no {what}", "`lab status` lists what it has")
    return name
