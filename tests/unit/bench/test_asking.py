"""Suites and the flow around them, against answers that are made here in place of a server's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.bench import facts, suite
from deploy.bench.client import CHAT, Failure, Raw, Target
from deploy.bench.results import Case, from_json
from deploy.bench.suite import Wish
from deploy.bench.table import as_text
from deploy.cluster.load import load
from deploy.errors import BenchError, ConfigError
from deploy.event import Note, Progress
from deploy.workflow import bench as flow
from deploy.workflow.bench import Order, Place, bench, judge
from tests.unit.bench.answers import raw, steady


class Made:
    """Answers requests; `fails` are the numbers of timed requests that fail, and how."""

    def __init__(self, fails: dict[int, Failure] | None = None) -> None:
        self.fails, self.timed, self.bodies = fails or {}, 0, list[Any]()
        self.state, self.flags, self.flushed = dict[str, float](), dict[str, str](), 0

    def request(self, target: Target, path: str, body: Any = None, method: str = "") -> Raw:
        if path == "/v1/models":
            return raw((0.1, json.dumps({"data": [{"id": "m", "max_model_len": 9000}]}).encode()))
        if path == "/get_server_info":
            told = {"version": "9", "tp_size": 4, "api_key": "hidden", "internal_states": [self.state], **self.flags}
            return raw((0.1, json.dumps(told).encode()))
        if path != CHAT:
            self.flushed += path == facts.FLUSH
            return raw((0.1, b"{}"))
        self.bodies.append(body)
        if not body.get("stream"):
            tokens = len(body["messages"][0]["content"]) // 4
            choice = {"message": {"content": "a"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": tokens, "completion_tokens": 1}
            return raw((0.1, json.dumps({"choices": [choice], "usage": usage}).encode()))
        self.timed += body["max_tokens"] == 64
        failure = self.fails.get(self.timed) if body["max_tokens"] == 64 else None
        return Raw(failure=failure) if failure else steady(body["max_tokens"], 4, 0.5, 100.0)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def put(made: Made) -> Made:
        monkeypatch.setattr(facts, "request", made.request)
        monkeypatch.setattr(suite, "request", made.request)
        return made

    return put  # type: ignore[return-value]


def run(out: Path, repeats: int = 2, name: str = "context") -> tuple[list[Any], Any]:
    wish = Wish(repeats, 1, 64, (512, 1024, 50_000))
    going = bench(Order((name,), out, wish), Place(Target("http://x:1/v1"), "i@sha256:1", ("a table",)))
    events = []
    while True:
        try:
            events.append(next(going))
        except StopIteration as end:
            return events, end.value


def test_a_run_is_kept_as_it_was_measured_with_what_is_known_of_the_server(serve: Any, tmp_path: Path) -> None:
    serve(Made())
    events, (found,) = run(tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert from_json(file.read_text(), "it") == found
    assert found.complete
    assert (found.server.engine, found.server.version, found.server.flags) == ("sglang", "9", {"tp_size": 4})
    assert (found.server.image, found.server.tables) == ("i@sha256:1", ["a table"])
    speed = found.cases[0].figures["decode_tok_s"]
    assert (round(speed.median, 3), speed.n) == (100.0, 2)
    assert [event.total for event in events if isinstance(event, Progress)] == [12] * 12
    judge([found], tmp_path)
    assert "512 tokens, cold" in as_text(found)


def test_prompts_are_as_long_as_asked_and_begin_alike_only_where_warm_is_meant(serve: Any, tmp_path: Path) -> None:
    made = serve(Made())
    _, (found,) = run(tmp_path)
    assert [case.parameters.get("tokens") for case in found.cases[::2]] == [512, 1024, 9000 - 64 - 96 - 9000 // 64]
    timed = [body["messages"][0]["content"] for body in made.bodies if body["max_tokens"] == 64]
    assert len(timed) == 12
    assert 0.9 < len(timed[0]) / 4 / 512 < 1.1
    begins = [prompt[:40] for prompt in timed]
    assert len(set(begins)) == 9  # two cold and one warm for each of three lengths
    assert timed[2] != timed[3]


@pytest.mark.parametrize(("name", "answers"), [("toolcall", 36), ("thinking", 12), ("agentic", 2)])
def test_no_prefix_cache_knows_what_another_request_began_with(
    name: str, answers: int, serve: Any, tmp_path: Path
) -> None:
    """A template puts the tools first, then the messages; the second question of a puzzle goes on from the first."""
    made = serve(Made())
    run(tmp_path, name=name)
    asked = made.bodies[1:]
    assert len(asked) == answers
    firsts = [body for body in asked if len(body["messages"]) <= 2]
    begins = [json.dumps([body.get("tools"), body["messages"]])[:160] for body in firsts]
    assert len(set(begins)) == len(begins)


def test_the_accept_length_is_a_fact_of_every_run_of_a_server_that_speculates(serve: Any, tmp_path: Path) -> None:
    made = serve(Made())
    made.state, made.flags = {"avg_spec_accept_length": 2.75}, {"speculative_algorithm": "EAGLE"}
    for name in ("context", "thinking"):
        _, (found,) = run(tmp_path / name, name=name)
        assert found.server.accept_length == 2.75
    assert made.flushed > 2
    made.flags = {}
    _, (found,) = run(tmp_path / "off", name="thinking")
    assert found.server.accept_length is None


def test_a_failure_is_in_no_median_and_makes_an_error(serve: Any, tmp_path: Path) -> None:
    serve(Made({2: Failure("cut", "after 3 chunks")}))
    events, (found,) = run(tmp_path)
    assert found.cases[0].figures["ttft_s"].n == 1
    assert any(isinstance(one, Note) and one.level == "warning" and "after 3 chunks" in one.text for one in events)
    assert "1 of 2 failed: cut" in as_text(found)
    with pytest.raises(BenchError, match=r"1 requests failed, the first in '512 tokens, cold': cut: after 3 chunks"):
        judge([found], tmp_path)


def test_a_server_that_refuses_is_not_asked_again(serve: Any, tmp_path: Path) -> None:
    made = serve(Made({3: Failure("refused", "nobody there")}))
    _, (found,) = run(tmp_path)
    assert (found.complete, len(found.cases), made.timed) == (False, 2, 3)
    with pytest.raises(BenchError):
        judge([found], tmp_path)


def test_an_interruption_keeps_what_is_finished(serve: Any, tmp_path: Path) -> None:
    serve(Made())
    going = bench(Order(("context",), tmp_path, Wish(1, 1, 64, (512, 1024))), Place(Target("http://x:1")))
    while not list(tmp_path.glob("*.json")):
        next(going)
    told = going.throw(KeyboardInterrupt())
    assert isinstance(told, Note)
    assert "interrupted after" in told.text
    with pytest.raises(KeyboardInterrupt):
        next(going)
    kept = from_json(next(tmp_path.glob("*.json")).read_text(), "it")
    assert not kept.complete
    assert all(isinstance(case, Case) and case.figures for case in kept.cases)


def test_a_url_that_is_none_is_refused_and_one_of_openai_is_taken() -> None:
    for url in ("x:1", "ftp://x", "http://", "10.0.0.1"):
        with pytest.raises(ConfigError, match="is no URL"):
            Target(url)
    assert (Target("http://x:1/v1/").base, Target("https://x/y").base) == ("", "/y")


def test_a_port_that_does_not_answer_from_here_is_reached_through_ssh_and_the_result_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, dialled = load(str(root / "tests/golden/four-sparks/cluster.yaml")).cluster, []
    session = SimpleNamespace(tunnel=lambda *where: dialled.append(where))
    fleet: Any = SimpleNamespace(sessions=[session])
    direct = Target(flow._url(cluster), "k", 30)
    assert direct.url == f"http://{cluster.head.host}:30000"
    monkeypatch.setattr(flow, "request", lambda *_: Raw(503))
    assert flow._way(fleet, cluster, direct) == (direct, "")
    monkeypatch.setattr(flow, "request", lambda *_: Raw(failure=Failure("refused", "")))
    through, note = flow._way(fleet, cluster, direct)
    assert through.dial
    through.dial(9.0)
    assert dialled == [("127.0.0.1", 30000, 9.0)]
    assert (through.key, through.url) == ("k", direct.url)
    assert "SSH" in note
