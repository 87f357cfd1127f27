"""Incidents as they are kept, and which go."""

from __future__ import annotations

from dataclasses import replace

from deploy.launch.watch import incident as form
from deploy.launch.watch.cause import Cause
from deploy.launch.watch.incident import Incident, history, surplus
from deploy.launch.watch.when import Moment

NOW = Moment(1795250412.0, "boot", 9000.0)
ONE = Incident(
    "sparks",
    NOW,
    Cause("out-of-memory", 2, "rank 2 was killed", ("a line", "noch eine Zeile: ä")),
    "rank 2 exited with code 137",
    {0: "2026-11-21T08:00:00Z", 2: "2026-11-21T08:00:01Z"},
    (1,),
    (Moment(1.0, "boot", 8000.0),),
)


def test_an_incident_reads_back() -> None:
    assert form.read(form.write(ONE)) == ONE


def test_what_is_no_incident_is_none() -> None:
    assert [form.read(text) for text in ("", "{", "[]", "3", '{"format": 99}', '{"format": 1, "at": 3}')] == [None] * 6


def test_the_folder_tells_date_and_cause() -> None:
    assert ONE.folder == "2026-11-21T08-40-12Z-out-of-memory"


def test_a_gang_is_known_by_any_of_its_starts() -> None:
    assert ONE.same_gang({2: "2026-11-21T08:00:01Z"})
    assert not ONE.same_gang({2: "2026-11-21T09:00:01Z"})
    assert not ONE.same_gang({})
    assert not replace(ONE, gang={0: ""}).same_gang({0: ""})


def test_a_restart_that_began_nothing_is_taken_back() -> None:
    tried = ONE.restarted(NOW)
    assert (len(tried.restarts), tried.outcome) == (2, "restarting")
    assert tried.taken_back() == ONE


def test_history_is_the_restarts_of_all_incidents_within_the_window_each_once() -> None:
    old, young = Moment(0, "boot", 1000.0), Moment(0, "boot", 8000.0)
    found = history((replace(ONE, restarts=(old, young)), replace(ONE, restarts=(young,))), NOW, 3600)
    assert found == (young,)


def test_the_newest_carries_the_history_so_that_old_folders_may_go() -> None:
    past = history((ONE,), NOW, 6 * 3600)
    assert history((replace(ONE, restarts=past),), NOW, 6 * 3600) == past


FOLDERS = [(f"2026-11-{day:02}T00-00-00Z-killed", 100) for day in range(1, 6)]


def test_the_oldest_go_when_there_are_too_many() -> None:
    assert surplus(FOLDERS, 3, 1e9) == ("2026-11-01T00-00-00Z-killed", "2026-11-02T00-00-00Z-killed")


def test_the_oldest_go_when_they_are_too_large() -> None:
    assert surplus(FOLDERS, 20, 350) == ("2026-11-01T00-00-00Z-killed", "2026-11-02T00-00-00Z-killed")


def test_the_newest_stays_however_large_it_is() -> None:
    assert len(surplus(FOLDERS, 20, 1)) == 4


def test_what_is_not_ours_is_left_alone() -> None:
    assert surplus([("notes", 10**12), *FOLDERS], 20, 1e9) == ()
