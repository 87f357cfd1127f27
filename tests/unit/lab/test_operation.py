from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import ConfigError, LabError
from deploy.event import Event, Note
from deploy.lab import faults, operation, preflight
from deploy.lab.demolition import demolish
from deploy.lab.images import Images
from deploy.lab.layout import DEFAULT_SUBNET, Layout, lay_out
from deploy.lab.push import pushed_digest
from deploy.lab.recipe import Release
from tests.unit.lab.recorded import RecordedHost

WANTED = Images("r:1", "t:1", "b:1", "n:1")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return lay_out(tmp_path, DEFAULT_SUBNET, 2)


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "check_machine", lambda host: Release("debian", "bookworm", "amd64"))
    monkeypatch.setattr(operation, "images", lambda release: WANTED)


def listing(layout: Layout, *states: str, recipe: str = "1-1", nodes: int = 2) -> str:
    names = [("registry", layout.registry_name)] + [("node", layout.node_name(index)) for index in range(nodes)]
    rows = zip(names, states or ("running",) * len(names), strict=True)
    return "".join(f"{name}\t{state}\t{role}\t10.0.0.1\t{recipe}\t{layout.slug}\n" for (role, name), state in rows)


def texts(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Note))


def test_a_running_lab_is_left_as_it_is(layout: Layout) -> None:
    host = RecordedHost({"docker ps": listing(layout)})
    assert "nothing changed" in texts(list(operation.up(host, layout)))
    assert len(host.ran) == 1


def test_a_lab_of_older_images_is_left_as_it_is_with_a_warning(layout: Layout) -> None:
    events = list(operation.up(RecordedHost({"docker ps": listing(layout, recipe="0-1")}), layout))
    assert [event.level for event in events if isinstance(event, Note)] == ["warning", "done"]


def test_a_lab_with_a_stopped_node_is_refused_by_the_node_s_name(layout: Layout) -> None:
    host = RecordedHost({"docker ps": listing(layout, "running", "running", "exited")})
    with pytest.raises(LabError, match="spark1 is exited"):
        list(operation.up(host, layout))


def test_a_lab_with_another_number_of_nodes_is_refused(layout: Layout) -> None:
    with pytest.raises(LabError, match="it has 3 nodes"):
        list(operation.up(RecordedHost({"docker ps": listing(layout, nodes=3)}), layout))


def test_an_up_that_comes_second_removes_nothing(layout: Layout) -> None:
    host = RecordedHost({"network create": 1})
    with pytest.raises(LabError, match="network create"):
        list(operation.up(host, layout))
    assert not [line for line in host.ran if " rm " in line or line.startswith("rm ")]


def starting(monkeypatch: pytest.MonkeyPatch, layout: Layout, **failing: str) -> RecordedHost:
    """A host on which a start succeeds, but for the command line with the part that `failing` names."""
    monkeypatch.setattr(operation, "_write_trust", lambda host, layout: (layout.folder / "id_ed25519").touch())
    answers: dict[str, str | int] = dict.fromkeys(failing.values(), 1)
    answers |= {"node-ready": answers.get("node-ready", "ssh-ed25519 AAAA\n"), "push": "digest: sha256:" + "0" * 64}
    answers |= {"network inspect --format {{.Name}} ": f"{layout.slug} {layout.subnet}", "network ls": "n1"}
    return RecordedHost(answers)


def test_a_start_ends_with_host_keys_and_a_cluster_file(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    events = list(operation.up(starting(monkeypatch, layout), layout))
    assert "ready: 2 nodes" in texts(events)
    assert layout.known_hosts.read_text().splitlines()[1] == "172.31.250.12 ssh-ed25519 AAAA"
    assert layout.cluster_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("step", ["docker run", "node-ready", "registry-ready", "docker --config"])
def test_a_start_that_fails_takes_down_what_it_began(
    monkeypatch: pytest.MonkeyPatch, layout: Layout, step: str
) -> None:
    host = starting(monkeypatch, layout, step=step)
    with pytest.raises(LabError, match="failed with exit code 1"):
        list(operation.up(host, layout))
    assert f"docker network rm {layout.slug}" in host.ran
    assert not layout.folder.exists()


def test_a_start_that_is_interrupted_takes_down_what_it_began(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> None:
    host = starting(monkeypatch, layout)
    events = operation.up(host, layout)
    assert "starting 2 nodes" in texts([next(events)])
    events.close()
    assert f"docker network rm {layout.slug}" in host.ran


def test_a_clash_of_subnets_names_the_other_lab(layout: Layout) -> None:
    host = RecordedHost({"network ls": "n1", "network inspect": "other\t172.31.0.0/16\t/y/.lab\n"})
    with pytest.raises(LabError, match=r"other, the lab of /y/\.lab"):
        preflight.check_subnet(host, layout)


@pytest.mark.parametrize("described", ["Docker Desktop []", "Debian [name=rootless]"])
def test_an_engine_that_cannot_hold_nested_ones_is_refused(described: str) -> None:
    with pytest.raises(LabError):
        preflight.check_engine(described)
    preflight.check_engine("Debian GNU/Linux 12 (bookworm) [name=seccomp,profile=default]")


def test_down_keeps_the_registry_s_contents_unless_told_otherwise(layout: Layout) -> None:
    answers: dict[str, str | int] = {
        "network ls": "n1",
        "network inspect": f"{layout.slug} {layout.subnet}",
        "volume ls": f"{layout.registry_name}\n{layout.node_name(0)}-docker\n",
    }
    kept, dropped = RecordedHost(answers), RecordedHost(answers)
    assert demolish(kept, layout.folder)
    assert demolish(dropped, layout.folder, caches=True)
    assert not [line for line in kept.ran if "volume rm" in line and line.endswith("registry")]
    assert [line for line in dropped.ran if "volume rm" in line and line.endswith("registry")]
    assert "docker network rm " + layout.slug in kept.ran


def test_down_without_a_lab_says_so_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("")
    (tmp_path / "notes").write_text("mine")
    assert not demolish(RecordedHost(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_the_digest_is_read_from_what_docker_push_says() -> None:
    digest = "sha256:" + "a1" * 32
    assert pushed_digest(f"aa: Pushed\nspark: digest: {digest} size: 1234\n") == digest
    with pytest.raises(LabError):
        pushed_digest("denied\n")


def test_every_fault_has_commands_and_a_description() -> None:
    assert all(faults.commands(kind, "n") for kind in faults.KINDS)
    with pytest.raises(ConfigError, match="no such fault: burn"):
        faults.commands("burn", "n")


def test_a_cut_stops_both_directions_and_a_heal_undoes_just_that() -> None:
    cut, (heal,) = faults.commands("cut", "n"), faults.commands("heal", "n")
    assert [argv[5:7] for argv in cut] == [("-I", "INPUT"), ("-I", "OUTPUT")]
    assert "-D INPUT -i eth0  -j DROP" in heal[-1]
    assert "-D OUTPUT -o eth0  -j DROP" in heal[-1]


def test_a_fault_for_a_node_that_is_not_there_is_refused(layout: Layout) -> None:
    with pytest.raises(ConfigError, match="no node 2"):
        faults.cause(RecordedHost({"docker ps": listing(layout)}), layout.folder, "pause", 2)
