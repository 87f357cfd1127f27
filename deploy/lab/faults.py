"""Ways in which a lab node fails and recovers, as docker command lines; `cause` carries one out."""

from __future__ import annotations

from pathlib import Path

from deploy.errors import ConfigError
from deploy.lab.host import Host
from deploy.lab.machine import listing, read_listing

KINDS = {
    "pause": "freeze every process of the node; its connections stay open",
    "unpause": "thaw it",
    "cut": "drop every packet from and to the node",
    "heal": "let them through again",
    "slow": "limit what the node sends to --rate",
    "fast": "lift that limit",
    "poweroff": "the node loses its power",
    "poweron": "it starts again",
    "engine-stop": "stop the node's Docker Engine",
    "engine-start": "start it again",
}


def commands(kind: str, name: str, rate: str = "10mbit") -> tuple[tuple[str, ...], ...]:
    """The commands that do `kind` to the container `name`; rate as tc writes it. Raises ConfigError."""
    inside = ("docker", "exec", name)
    table: dict[str, tuple[tuple[str, ...], ...]] = {
        "pause": (("docker", "pause", name),),
        "unpause": (("docker", "unpause", name),),
        "cut": (_firewall(inside, "-I INPUT 1 -i"), _firewall(inside, "-I OUTPUT 1 -o")),
        "heal": (_firewall(inside, "-D INPUT -i"), _firewall(inside, "-D OUTPUT -o")),
        "slow": ((*inside, *f"tc qdisc replace dev eth0 root tbf rate {rate} burst 64kb latency 50ms".split()),),
        "fast": ((*inside, "tc", "qdisc", "del", "dev", "eth0", "root"),),
        "poweroff": (("docker", "kill", name),),
        "poweron": (("docker", "start", name), (*inside, "lab-node", "node-ready")),
        "engine-stop": ((*inside, "lab-node", "engine-stop"),),
        "engine-start": ((*inside, "lab-node", "engine-start"),),
    }
    if kind not in table:
        raise ConfigError(f"no such fault: {kind}", "one of: " + ", ".join(KINDS))
    return table[kind]


def _firewall(inside: tuple[str, ...], rule: str) -> tuple[str, ...]:
    return (*inside, "iptables", "--wait", *rule.split(), "eth0", "-j", "DROP")


def cause(host: Host, folder: Path, kind: str, index: int, rate: str = "10mbit") -> None:
    """Do `kind` to the node with this index; raises ConfigError where the lab has no such node."""
    found = read_listing(host.run(listing(str(folder.resolve()))))
    name = next((one.name for one in found if one.hostname == f"spark{index}"), None)
    if name is None:
        raise ConfigError(f"the lab in {folder} has no node {index}", "`lab status` lists its nodes")
    for argv in commands(kind, name, rate):
        host.run(argv)
