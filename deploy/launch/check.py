"""Would this SGLang take these flags? Every mistake is found before a node is touched. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.cluster.load import did_you_mean
from deploy.cluster.source import Problem
from deploy.cluster.spec import DEFAULT_SERVER, Cluster
from deploy.launch.doctor.check import FIRM, MENDS
from deploy.launch.flags import Flag, FlagTable
from deploy.launch.sglang import SPECULATIVE, server_flags, words

DERIVED = {
    "nnodes": "is the number of nodes in this file",
    "node-rank": "is a node's place in the list of nodes",
    "dist-init-addr": "is the first node's fabric address and rendezvous_port",
    "nccl-init-addr": "is the first node's fabric address and rendezvous_port",
    "model-path": "is model.path",
    "model": "is model.path",
    "revision": "is model.revision",
}
SECRET = {"api-key", "ssl-keyfile-password", "admin-api-key"}
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""What argparse takes for a negative number, and not for an option."""

Choices = Mapping[str, tuple[str, ...]]


def problems(
    cluster: Cluster, table: FlagTable, added: Choices, absent: Mapping[str, str] | None = None
) -> Iterator[Problem]:
    """Every flag that this SGLang would refuse. `added` are the choices that the image's patches bring, by flag;
    `absent` are flags of optional sets of patches that the image lacks, and those sets."""
    for name in cluster.server:
        yield from _flag(name, table, absent or {})
    flags = server_flags(cluster)
    for name, value in flags.items():
        flag = table.find(f"--{name}")
        if flag and name not in DERIVED and name not in SECRET:
            yield from (Problem(("server", name), what) for what in _value(flag, value, added))
    yield from _parallel(cluster, flags, table)
    yield from _keyed(cluster, flags)
    yield from _allowed(cluster)
    yield from _speculative(flags)


def _allowed(cluster: Cluster) -> Iterator[Problem]:
    for place, name in enumerate(cluster.doctor.allow):
        if name in FIRM:
            yield Problem(("doctor", "allow", place), f"{name} cannot be allowed: nothing starts without it")
        elif name not in MENDS:
            yield Problem(("doctor", "allow", place), f"no check is called {name!r}{did_you_mean(name, list(MENDS))}")


def _flag(name: str, table: FlagTable, absent: Mapping[str, str]) -> Iterator[Problem]:
    path = ("server", name)
    if name in DERIVED:
        yield Problem(path, f"must not be given: it {DERIVED[name]}")
    elif name in SECRET:
        instead = "; write api_key: NAME beside server, with the name of a variable of your shell"
        what = "is a secret, and a command line can be read by everybody on the node"
        yield Problem(path, what + (instead if name == "api-key" else ""))
    elif name in absent:
        yield Problem(path, f"comes with a set of patches that the image lacks: image.patches: [{absent[name]}]")
    elif table.find(f"--{name}") is None:
        known = [spelling.lstrip("-") for flag in table.flags for spelling in flag.spellings]
        yield Problem(path, f"SGLang {table.version} has no flag --{name}{did_you_mean(name, known)}")
    else:
        yield from _alias(name, table)


def _alias(name: str, table: FlagTable) -> Iterator[Problem]:
    flag = table.find(f"--{name}")
    twin = next((known for known in DEFAULT_SERVER if known != name and table.find(f"--{known}") == flag), None)
    if twin:
        yield Problem(("server", name), f"is called {twin} here, which has a default")


def _value(flag: Flag, value: Any, added: Choices) -> Iterator[str]:
    if flag.action in ("store_true", "store_false"):
        if value is not True:
            yield f"takes true or false (found {value!r})"
        return
    if value is True:
        yield "needs a value"
        return
    if isinstance(value, list) and flag.nargs is None:
        yield "takes one value, not a list"
        return
    for word in words(value):
        yield from _word(flag, word, added)


def _word(flag: Flag, word: str, added: Choices) -> Iterator[str]:
    if word.startswith("-") and not _NUMBER.fullmatch(word):
        yield f"{word!r} begins with a dash: SGLang would take it for another flag"
    elif flag.choices:
        legal = [str(choice) for choice in (*flag.choices, *added.get(flag.name, ()))]
        if word not in legal:
            yield f"{word!r} is not one of {', '.join(legal)}{did_you_mean(word, legal)}"
    elif flag.type in ("int", "float"):
        try:
            {"int": int, "float": float}[flag.type](word)
        except ValueError:
            yield f"takes {'a whole number' if flag.type == 'int' else 'a number'} (found {word!r})"


def _parallel(cluster: Cluster, flags: Mapping[str, Any], table: FlagTable) -> Iterator[Problem]:
    tp, nodes = flags.get("tp"), len(cluster.nodes)
    pp = _int(flags, table, "--pp-size") or 1
    if isinstance(tp, int) and (tp < 1 or (tp * pp) % nodes):
        yield Problem(("server", "tp"), f"{tp} x pipeline {pp} ranks cannot be spread evenly over {nodes} nodes")


def _keyed(cluster: Cluster, flags: Mapping[str, Any]) -> Iterator[Problem]:
    """SGLang asks for a key only where one process speaks HTTP."""
    if cluster.api_key and flags.get("tokenizer-worker-num", 1) != 1:
        yield Problem(("server", "tokenizer-worker-num"), "SGLang asks for no api_key with more than one of them")
    if cluster.api_key and "grpc-mode" in flags:
        yield Problem(("server", "grpc-mode"), "SGLang asks for no api_key over gRPC")


def _int(flags: Mapping[str, Any], table: FlagTable, spelling: str) -> int | None:
    """A whole number by any of a flag's spellings."""
    flag = table.find(spelling)
    names = [name.lstrip("-") for name in flag.spellings] if flag else []
    return next((flags[name] for name in names if isinstance(flags.get(name), int)), None)


def _speculative(flags: Mapping[str, Any]) -> Iterator[Problem]:
    """SGLang's own limits for EAGLE, and the size of its draft tree."""
    keys = [SPECULATIVE + key for key in ("num-steps", "num-draft-tokens", "eagle-topk")]
    given = [key for key in keys if key in flags]
    if not given or "speculative-algorithm" not in flags:
        if given:
            yield Problem(("server", given[0]), "needs speculative-algorithm")
        return
    if len(given) < len(keys):
        missing = ", ".join(key for key in keys if key not in flags)
        yield Problem(("server", given[0]), f"the three are given together or not at all; missing: {missing}")
        return
    steps, draft, topk = (flags[key] for key in keys)
    if all(isinstance(number, int) and not isinstance(number, bool) for number in (steps, draft, topk)):
        yield from _tree(steps, draft, topk)


def _tree(steps: int, draft: int, topk: int) -> Iterator[Problem]:
    for key, number in (("num-steps", steps), ("num-draft-tokens", draft), ("eagle-topk", topk)):
        if number < 1:
            yield Problem(("server", SPECULATIVE + key), "must be at least 1")
            return
    most = 1 + topk + (steps - 1) * topk**2
    draft_key = ("server", SPECULATIVE + "num-draft-tokens")
    if draft > most:
        yield Problem(draft_key, f"{draft} is more than the {most} of a tree of {steps} steps and top-k {topk}")
    if topk == 1 and draft != steps + 1:
        yield Problem(draft_key, f"top-k 1 drafts a chain: SGLang makes it {steps + 1} (steps + 1); write that")
    if draft < 2:
        yield Problem(draft_key, "must be at least 2: the first token is the verified one")
