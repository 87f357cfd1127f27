"""`model`: what is asked for, and one turn of a chain, with nodes that say what they are told to say."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.cluster.load import Document, parse
from deploy.command import Command, Result
from deploy.errors import ConfigError, HubError
from deploy.event import Event, Note, Progress
from deploy.weights.plan import chain
from deploy.workflow.weights import relay
from deploy.workflow.weights.asked import Model, model, token
from deploy.workflow.weights.crew import Said
from deploy.workflow.weights.prune import Pruning, _obstacle
from deploy.workflow.weights.status import ModelStatus, NodeModel
from tests.unit.launch.samples import GOLDEN
from tests.unit.weights.samples import MANIFEST, WHOLE, node

TEXT = (GOLDEN / "four-sparks" / "cluster.yaml").read_text()


def document(more: str = "") -> Document:
    return parse("cluster.yaml", TEXT + more)


def test_the_model_lies_where_the_ranks_look_for_it() -> None:
    found = model(document())
    assert (found.repository, found.revision) == ("zai-org/GLM-4.7-FP8", "main")
    assert found.hub == "~/.cache/huggingface/hub"
    moved = model(document("environment: {HF_HUB_CACHE: /root/.cache/huggingface/other}\n"))
    assert moved.hub == "~/.cache/huggingface/other"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("model: {path: /models/glm}\n", "no name at a hub"),
        ("environment: {HF_HOME: /nowhere}\n", "in no mount"),
    ],
)
def test_what_no_hub_has_or_no_node_keeps_cannot_be_fetched(more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        model(document(more))


def test_another_model_has_no_revision_of_this_one() -> None:
    found = model(document("model: {path: a/b, revision: v2}\n"), "c/d")
    assert (found.repository, found.revision) == ("c/d", "main")


def test_a_token_is_asked_for_by_its_name() -> None:
    assert token(document(), {"HF_TOKEN": "x"}) == "", "nobody named it"
    assert token(document("secrets: [HF_TOKEN]\n"), {"HF_TOKEN": "x"}) == "x"
    assert token(document(), {"OTHER": "y"}, "OTHER") == "y"
    with pytest.raises(ConfigError, match="HF_TOKEN"):
        token(document("secrets: [HF_TOKEN]\n"), {})
    with pytest.raises(ConfigError, match="--token OTHER"):
        token(document(), {}, "OTHER")


class Script:
    """In place of a crew: hands out what it was given, and keeps what was started."""

    said: list[Said]
    started: list[tuple[int, str]]

    def __init__(self, fleet: Any) -> None:
        type(self).started = []

    def start(self, rank: int, role: str, command: Command) -> None:
        self.started.append((rank, role))

    def listen(self, timeout: float) -> Said | None:
        return self.said.pop(0)

    def error(self, rank: int, role: str, over: Result) -> HubError:
        return HubError(over.stderr)

    def stop(self) -> None:
        self.started.append((-1, "stop"))


class Source:
    rank = None

    def command(self, *args: Any) -> Generator[Event, None, Command]:
        yield Note("asked")
        return Command(("download",))


def over(rank: int, role: str, code: int | None, why: str = "") -> Said:
    return Said(rank, role, over=Result(Command(()), code, stderr=why))


def turn(monkeypatch: pytest.MonkeyPatch, said: list[Said], alive: bool = True) -> tuple[relay.Turn, list[Event]]:
    monkeypatch.setattr(relay, "Crew", Script)
    Script.said = said
    nodes = {0: node(), 1: node()}
    hosts = [SimpleNamespace(host=f"spark{rank}", fabric=f"10.0.0.{rank}") for rank in nodes]
    fleet: Any = SimpleNamespace(nodes=hosts, sessions=[SimpleNamespace(alive=alive)] * 2)
    asked = Model(document().cluster, MANIFEST.repository, "main", "/hub")
    made = relay.Turn(fleet, asked, MANIFEST, chain(MANIFEST, nodes, "main", None, {}), {})
    return made, list(made.taken(Source(), nodes))  # type: ignore[arg-type]


def test_the_download_begins_once_the_relay_beside_it_holds_the_lock_and_the_turn_ends_with_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = [
        Said(1, "relay", {"have": 0}),
        Said(0, "relay", {"have": 0}),
        *(Said(rank, "relay", {"whole": True}) for rank in (0, 1)),
        over(0, "download", 0),
    ]
    made, events = turn(monkeypatch, said)
    assert Script.started == [(0, "relay"), (1, "relay"), (0, "download"), (-1, "stop")]
    assert made.lost == {}
    assert [one.task for one in events if isinstance(one, Progress)] == ["model on spark1", "model on spark0"]


def test_who_is_lost_ends_the_turn_and_everything_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = turn(monkeypatch, [Said(0, "relay", {"have": 0}), over(1, "relay", None, "it is silent")])
    assert made.lost == {1: "it is silent"}
    assert Script.started[-1] == (-1, "stop")


def test_a_hub_that_fails_is_an_error_but_a_node_that_is_gone_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [Said(0, "relay", {"have": 0}), over(0, "download", 12, "HTTP 500")]
    with pytest.raises(HubError, match="spark0: HTTP 500"):
        turn(monkeypatch, list(said))
    assert Script.started[-1] == (-1, "stop")
    made, _ = turn(monkeypatch, list(said), alive=False)
    assert made.lost == {0: "HTTP 500"}


def test_nothing_is_pruned_where_nobody_can_tell_what_the_revision_names() -> None:
    unnamed = node(snapshots={"d" * 40: {}})
    assert "model fetch" in _obstacle(unnamed, Pruning("ana"))
    assert not _obstacle(unnamed, Pruning("ana", other="a/b"))
    assert not _obstacle(node(*WHOLE, placed=True), Pruning("ana"))


def test_a_status_is_good_only_where_all_have_the_same_commit() -> None:
    nodes = (NodeModel("a", "whole", "c" * 40, 5, 5), NodeModel("b", "whole", "c" * 40, 5, 5))
    assert ModelStatus("m", "main", True, nodes).ok
    for other in (NodeModel("b", "partial", "c" * 40, 4, 5), NodeModel("b", "whole", "d" * 40, 5, 5)):
        assert not ModelStatus("m", "main", True, (nodes[0], other)).ok
    text = ModelStatus("m", "main", True, (nodes[0], NodeModel("b", "unknown", why="it is silent"))).as_text()
    assert "b     unknown" in text
    assert "it is silent" in text
