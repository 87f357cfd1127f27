"""A stand-in for the `docker` command line, for a GPU host without an engine: ranks are processes of the host.

It knows the calls that the toolkit makes of a node and refuses every other one aloud. STANDIN_STATE names the node's
folder, whose host.json says how ranks are started there. Nothing but Python's library is used, to start fast.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.gpu.standin_container import Container, Shelf  # noqa: E402

STATE = Path(os.environ.get("STANDIN_STATE", "/nonexistent"))
REFUSED, NOT_FOUND = 125, 1
SHORT = {"-a": "--all", "-q": "--quiet", "-f": "--filter", "-d": "--detach", "-e": "--env", "-l": "--label"}
SHORT |= {"-v": "--volume", "-t": "--time", "-n": "--tail", "-i": "--interactive"}
# What a rank's container may be given; the options that isolate it mean nothing to a process of the host.
RUN_FLAGS = {"--detach", "--init", "--read-only"}
RUN_VALUES = {
    "--name", "--network", "--ipc", "--gpus", "--ulimit", "--device", "--label", "--env", "--volume", "--cap-drop",
    "--cap-add", "--security-opt", "--pids-limit", "--shm-size", "--restart", "--tmpfs", "--mount", "--log-opt",
    "--log-driver", "--stop-timeout", "--oom-score-adj", "--memory", "--hostname", "--user", "--cgroupns", "--pid",
}  # fmt: skip
Options = dict[str, list[str]]


def refuse(why: str, code: int = REFUSED) -> NoReturn:
    """Say why on stderr, and keep it where the run that uses this stand-in looks for it."""
    if code == REFUSED:
        with (STATE / "refused").open("a") as kept:
            kept.write(f"{why}: {' '.join(sys.argv[1:])[:300]}\n")
    print(f"docker stand-in: {why}", file=sys.stderr)
    sys.exit(code)


def parsed(words: Sequence[str], flags: set[str], values: set[str]) -> tuple[Options, list[str]]:
    """Options up to the first word that is none, and the rest; an unknown option is refused."""
    options: Options = {}
    rest = [part for word in words for part in _split(word, flags)]
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        name = name if name in flags | values else SHORT.get(name, name)
        if name not in flags | values:
            refuse(f"unknown option {name}")
        if name in values and not equals:
            value = rest.pop(0) if rest else refuse(f"{name} needs a value")
        options.setdefault(name, []).append(value)
    return options, rest


def _split(word: str, flags: set[str]) -> list[str]:
    """`-aq` as `-a -q`."""
    letters = [f"-{letter}" for letter in word[1:]]
    whole = len(word) > 2 and word[0] == "-" and word[1] != "-" and all(SHORT.get(one) in flags for one in letters)
    return letters if whole else [word]


def rendered(template: str, value: Mapping[str, Any]) -> str:
    """A Go template of plain fields: {{.A.B}} and {{json .A.B}}."""

    def field(found: re.Match[str]) -> str:
        result: Any = value
        for name in found[2].split(".") if found[2] else ():
            if not isinstance(result, Mapping) or name not in result:
                refuse(f"no field .{found[2]} for a template")
            result = result[name]
        return json.dumps(result, separators=(",", ":")) if found[1] else str(result)

    text = re.sub(r"\{\{\s*(json\s)?\s*\.([\w.]*)\s*\}\}", field, template)
    return text if "{{" not in text else refuse(f"a template beyond this stand-in: {template}")


def found(names: Sequence[str], *, force: bool = False) -> list[Container]:
    """Containers by name. A missing one ends the call, as in Docker, unless `force`."""
    shelf = Shelf(STATE)
    result = []
    for name in names:
        container = shelf.find(name)
        if container:
            result.append(container)
        elif not force:
            print(f"Error: No such container: {name}", file=sys.stderr)
            sys.exit(NOT_FOUND)
    return result


def host() -> dict[str, Any]:
    """How this node is: see tests/gpu/nodes.py, which writes it."""
    return json.loads((STATE / "host.json").read_text())  # type: ignore[no-any-return]


def info(words: Sequence[str]) -> None:
    options, _ = parsed(words, set(), {"--format"})
    runtimes = {"nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}}
    about = {"ServerVersion": "stand-in", "Runtimes": runtimes, "DockerRootDir": str(STATE), "OSType": "linux"}
    print(rendered(options.get("--format", ["{{json .}}"])[0], about))


def image(words: Sequence[str]) -> None:
    """One image, proven, whatever recipe is asked for: the host has none, and needs none."""
    verb, *rest = words
    options, names = parsed(rest, {"--digests", "--quiet", "--no-trunc", "--all"}, {"--filter", "--format"})
    name, digest = host()["image"].split("@")
    if verb == "ls":
        row = {"Repository": name, "Digest": digest, "Tag": "self-tested", "ID": digest, "Size": "1GB"}
        print(rendered(options["--format"][0], row))
    elif verb == "inspect":
        shown = {"Id": digest, "RepoTags": [f"{name}:self-tested"], "RepoDigests": [f"{name}@{digest}"]}
        for _ in names:
            print(rendered(options["--format"][0], shown))
    else:
        refuse(f"image {verb}")


def ps(words: Sequence[str]) -> None:
    options, _ = parsed(words, {"--all", "--quiet", "--no-trunc"}, {"--filter", "--format"})
    for one in Shelf(STATE).all():
        made, state = one.made, one.state
        wanted = all(_matches(text, made, state) for text in options.get("--filter", []))
        if wanted and (state["Running"] or "--all" in options):
            row = {"ID": made["id"], "Names": made["name"], "Image": made["image"], "State": state["Status"]}
            row["Status"] = "Up" if state["Running"] else f"Exited ({state['ExitCode']})"
            print(made["id"] if "--quiet" in options else rendered(options.get("--format", ["{{.Names}}"])[0], row))


def _matches(text: str, made: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    kind, _, value = text.partition("=")
    if kind == "label":
        name, equals, wanted = value.partition("=")
        return name in made["labels"] and (not equals or made["labels"][name] == wanted)
    if kind == "status":
        return bool(state["Status"] == value)
    return re.search(value, made["name"]) is not None if kind == "name" else refuse(f"filter {text}")


def inspect(words: Sequence[str]) -> None:
    options, names = parsed(words, set(), {"--format", "--type"})
    for one in found(names):
        made, state = one.made, one.state
        config = {"Labels": made["labels"], "Image": made["image"], "Env": made["told_env"], "Cmd": made["told_argv"]}
        shown = {"Id": made["id"], "Name": f"/{made['name']}", "Created": made["created"], "Config": config}
        shown |= {"State": state, "RestartCount": 0, "Image": made["image"], "LogPath": str(one.log)}
        shown |= {"Mounts": [], "HostConfig": {"NetworkMode": "host", "Init": True, "RestartPolicy": {"Name": "no"}}}
        print(rendered(options.get("--format", ["[{{json .}}]"])[0], shown))


def run(words: Sequence[str]) -> None:
    """Start a rank as a process: what `up` gives it, changed as tests/gpu/adapt.py says."""
    from deploy.container import RANK
    from tests.gpu.adapt import adapted

    options, (picture, *argv) = parsed(words, RUN_FLAGS, RUN_VALUES)
    labels = dict(text.split("=", 1) for text in options.get("--label", []))
    name = options["--name"][0]
    if RANK not in labels or "--detach" not in options:
        refuse("only ranks are run, detached")
    if Shelf(STATE).find(name):
        refuse(f'Conflict. The container name "/{name}" is already in use')
    env, here = dict(text.split("=", 1) for text in options.get("--env", [])), host()
    asked = {"rank": labels[RANK], "argv": argv, "env": env}
    launch = adapted(asked, here["python"], Path(here["site"]), Path(here["model"]), here["address"])
    told = {"name": name, "labels": labels, "image": picture, "told_env": options.get("--env", []), "told_argv": argv}
    one = Shelf(STATE).make(launch.argv, {**here["env"], **launch.env}, told)
    print(one.made["id"])


def logs(words: Sequence[str]) -> None:
    """All that it said, both streams in one; with --follow until its end."""
    options, names = parsed(words, {"--follow"}, {"--tail"})
    one = found(names)[0]
    with one.log.open("rb") as log:
        if "--tail" in options and options["--tail"][0] != "all":
            lines = log.readlines()
            _say(b"".join(lines[max(len(lines) - int(options["--tail"][0]), 0) :]))
        going = True
        while going:
            going = "--follow" in options and one.folder.exists() and one.running
            while piece := log.read(1 << 16):
                _say(piece)
            time.sleep(0.1 if going else 0)


def _say(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def kill(words: Sequence[str]) -> None:
    options, names = parsed(words, set(), {"--signal"})
    for name, one in zip(names, found(names), strict=True):
        if not one.running:
            refuse(f"cannot kill container: {name}: container is not running", NOT_FOUND)
        number = getattr(signal, "SIG" + options.get("--signal", ["KILL"])[0].removeprefix("SIG"))
        if number == signal.SIGKILL:
            _end(one)
        else:
            one.signal_main(number)
        print(name)


def _end(one: Container) -> None:
    while one.running:
        one.signal(signal.SIGKILL)
        one.ended(0.2)


def stop(words: Sequence[str]) -> None:
    options, names = parsed(words, set(), {"--time", "--timeout"})
    wait = float(next(iter(options.values()), ["10"])[0])
    containers = found(names)
    # Docker's command line asks one after the other; so does this.
    for name, one in zip(names, containers, strict=True):
        one.signal_main(signal.SIGTERM)
        if not one.ended(wait):
            _end(one)
        print(name)


def rm(words: Sequence[str]) -> None:
    options, names = parsed(
        [{"-f": "--force", "-v": "--volumes"}.get(w, w) for w in words], {"--force", "--volumes"}, set()
    )
    for one in found(names, force="--force" in options):
        if one.running and "--force" not in options:
            refuse("You cannot remove a running container", NOT_FOUND)
        _end(one)
        name = one.made["name"]
        _keep_log(one, name)
        shutil.rmtree(one.folder)
        print(name)


def _keep_log(one: Container, name: str) -> None:
    """Docker forgets; whoever looks at the run afterwards wants to read on."""
    kept = STATE / "removed"
    kept.mkdir(exist_ok=True)
    shutil.copy(one.log, kept / f"{name}-{one.made['id'][:6]}.log")


def execute(words: Sequence[str]) -> None:
    """In a container that is no other place than the host; what the image carries of the toolkit is the repository."""
    options, (name, *argv) = parsed(words, {"--interactive"}, {"--env", "--user", "--workdir"})
    if not found([name])[0].running:
        refuse(f"container {name} is not running", NOT_FOUND)
    os.chdir(ROOT if options.get("--workdir") == ["/opt/sglang-spark"] else "/")
    os.execvp(argv[0], argv)


def wait(words: Sequence[str]) -> None:
    for one in found(words):
        while not one.ended(3600):
            pass
        print(one.state["ExitCode"])


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "info": info, "image": image, "ps": ps, "inspect": inspect, "run": run, "logs": logs, "kill": kill, "stop": stop,
    "rm": rm, "exec": execute, "wait": wait,
}  # fmt: skip


def main() -> None:
    """One call."""
    with (STATE / "calls").open("a") as calls:
        calls.write(f"{time.time():.3f} {' '.join(sys.argv[1:])[:200]}\n")
    verb, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if verb not in VERBS:
        refuse(f"no call {verb!r}")
    VERBS[verb](words)


if __name__ == "__main__":
    main()
