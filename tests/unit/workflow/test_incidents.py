"""Incident folders on this machine's disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.launch.watch.cause import Cause
from deploy.launch.watch.incident import Incident
from deploy.launch.watch.when import Moment
from deploy.workflow.watch.incidents import Incidents


def incident(second: int, kind: str = "killed") -> Incident:
    return Incident("x", Moment(1795250400.0 + second, "b", 1.0 + second), Cause(kind, 1, "why"))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Incidents:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Incidents("x")


def test_nothing_is_kept_at_first(store: Incidents) -> None:
    assert list(store) == []


def test_an_incident_is_kept_for_its_owner_alone_and_found_again(store: Incidents) -> None:
    kept = store.begin(incident(1))
    kept.add("rank0.log", b"said\xff")
    assert [one.incident for one in store] == [incident(1)]
    assert store.folder.stat().st_mode & 0o777 == kept.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in kept.folder.iterdir()} == {0o600}
    assert (kept.folder / "rank0.log").read_bytes() == b"said\xff"


def test_what_is_saved_replaces_what_was(store: Incidents) -> None:
    kept = store.begin(incident(1))
    kept.save(replace(kept.incident, outcome="restarted"))
    assert [one.incident.outcome for one in store] == ["restarted"]


def test_two_of_one_second_have_a_folder_each_and_the_newest_is_first(store: Incidents) -> None:
    for second in (1, 1, 2):
        store.begin(incident(second))
    assert len({one.folder for one in store}) == 3
    assert next(iter(store)).incident == incident(2)


def test_a_broken_folder_is_passed_over_and_in_the_end_let_go(store: Incidents) -> None:
    broken = store.begin(incident(1))
    (broken.folder / "incident.json").write_text("{")
    store.begin(incident(2))
    assert [one.incident for one in store] == [incident(2)]
    store.prune(1, 1e9)
    assert not broken.folder.exists()


def test_the_oldest_folders_go(store: Incidents) -> None:
    for second in range(5):
        store.begin(incident(second))
    (store.folder / "notes").mkdir()
    store.prune(2, 1e9)
    assert [one.incident for one in store] == [incident(4), incident(3)]
    assert (store.folder / "notes").is_dir()
