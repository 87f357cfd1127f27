"""The stand-in does what the record says that the real engine did: order of lines, health, answers, death, freezing."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.observe import Patience, observe
from tests.integration.standin import launches, site

SGLANG = "0.5.14"
RECORD = Path(__file__).resolve().parents[1] / "gpu" / "record" / f"{SGLANG}.json"
# As the engine was started there: no weights to load, graphs up to 16, NCCL's lines.
FLAGS = ("--load-format", "dummy", "--cuda-graph-max-bs", "16")
ENV = {"STANDIN_ENGINE": SGLANG, "STANDIN_HEALTH_TIMEOUT": "3", "NCCL_DEBUG": "INFO"}
QUICK = Patience(ready=20, answer=20, fall=8, leave=12)
Life = dict[str, Any]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not RECORD.exists(), reason=f"no record of SGLang {SGLANG}: see tests/gpu/README.md"),
]


def lived(fault: str, folder: Path) -> tuple[Life, Life]:
    """The engine's life as recorded, and the stand-in's, as it is now."""
    engine = next(life for life in json.loads(RECORD.read_text())["lives"] if life["fault"] == fault)
    where = site("0.5.4.post2", folder / "site")
    standin = observe(launches(where, len(engine["ranks"]), *FLAGS, env=ENV), folder / "logs", fault, QUICK)
    return engine, json.loads(json.dumps(standin))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Life, Life]:
    return lived("kill", tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Life, Life]:
    return lived("stop", tmp_path_factory.mktemp("stop"))


@pytest.fixture(params=["killed", "stopped"])
def both(request: pytest.FixtureRequest) -> tuple[Life, Life]:
    """Either life."""
    life: tuple[Life, Life] = request.getfixturevalue(request.param)
    return life


def start(rank: Life) -> list[tuple[str, str]]:
    """Milestones until ready, with details except tables' paths; repeated ones count once."""
    names = [(name, "" if name.startswith("table") else detail) for name, _, detail in rank["milestones"]]
    ends = [index for index, (name, _) in enumerate(names) if name in ("ready", "worker-ready")]
    return [name for name, _ in groupby(names[: ends[0] + 1])]


def end(rank: Life) -> list[str]:
    """Milestones after ready, without those of health."""
    names = [name for name, *_ in rank["milestones"]]
    ends = [index for index, name in enumerate(names) if name in ("ready", "worker-ready")]
    return [name for name in names[ends[0] + 1 :] if name != "health-failed"]


def warming(rank: Life) -> list[int | str]:
    """What /health said up to its first 200."""
    says = [entry["says"] for entry in rank["health"]]
    return says[: says.index(200) + 1]


def frozen(life: Life, rank: Life) -> list[int | str]:
    """What /health said from the strike until the thaw; nothing for a rank that did not answer at all."""
    told = []
    for entry in rank["health"]:
        # a 200 that took so long came with the thaw
        waited = entry["says"] == "timeout" or (entry["says"] == 200 and entry["slowest"] > 3)
        if entry["until"] > life["struck"] and entry["from"] < life["thawed"] - 3 and not waited:
            told.append(entry["says"])
    return told


def test_both_were_ready_and_all_lines_came_in_the_same_order(both: tuple[Life, Life]) -> None:
    engine, standin = both
    assert engine["ready"]
    assert standin["ready"]
    for real, imitated in zip(engine["ranks"], standin["ranks"], strict=True):
        assert start(imitated) == start(real)


def test_health_said_the_same_until_ready(both: tuple[Life, Life]) -> None:
    engine, standin = both
    assert warming(engine["ranks"][0]) == ["refused", 503, 200]
    for real, imitated in zip(engine["ranks"], standin["ranks"], strict=True):
        assert warming(imitated) == warming(real)


def test_every_path_answered_the_same_on_every_rank(both: tuple[Life, Life]) -> None:
    engine, standin = both
    assert standin["paths"] == engine["paths"]
    assert json.loads(standin["parse"]["body"]) == json.loads(engine["parse"]["body"])


def test_a_streamed_answer_came_in_the_same_shape(both: tuple[Life, Life]) -> None:
    engine, standin = (life["stream"] for life in both)
    for one in (engine, standin):
        assert one["ends_with_done"]
        assert one["usage_in_chunk"] == one["chunks"] - 1
        assert one["usage"]["completion_tokens"] > one["chunks"] > one["usage"]["completion_tokens"] / 4
    # Thinking apart from the answer became the default between the two versions.
    assert {*standin["delta_keys"], "reasoning_content"} == {*engine["delta_keys"], "reasoning_content"}
    assert standin["usage"].keys() == engine["usage"].keys()


def test_after_a_rank_was_killed_all_left_in_the_same_way(killed: tuple[Life, Life]) -> None:
    engine, standin = killed
    for real, imitated in zip(engine["exits"], standin["exits"], strict=True):
        assert imitated[1] == real[1]
        assert abs((imitated[0] - standin["struck"]) - (real[0] - engine["struck"])) < 1.5
    for real, imitated in zip(engine["ranks"], standin["ranks"], strict=True):
        assert end(imitated) == end(real)


def test_while_a_rank_was_frozen_nobody_left_and_health_said_the_same(stopped: tuple[Life, Life]) -> None:
    engine, standin = stopped
    assert standin["exits"] == engine["exits"] == [None] * 4
    for real, imitated in zip(engine["ranks"], standin["ranks"], strict=True):
        assert frozen(standin, imitated) == frozen(engine, real)
    assert standin["healed"] == engine["healed"]


def test_asked_to_leave_all_left_in_the_same_way(stopped: tuple[Life, Life]) -> None:
    engine, standin = stopped
    assert [code for _, code in standin["left"]] == [code for _, code in engine["left"]]
    for real, imitated in zip(engine["left"], standin["left"], strict=True):
        assert imitated[0] - standin["asked_to_leave"] < real[0] - engine["asked_to_leave"] + 1.5
