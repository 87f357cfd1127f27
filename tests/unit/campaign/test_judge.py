from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.campaign.cells import Cell, cells, victim
from benchmarks.campaign.judge import Mark, Run, bounds, problems, summary
from benchmarks.campaign.table import as_json, as_text, matrix


def cell(name: str) -> Cell:
    (found,) = cells([name])
    return found


def good(name: str, **changes: object) -> Run:
    run = Run(name, 0, 1, notice_s=1.0, down_s=4.0, line="rank 1 exited", named=True, same_gang=True)
    return replace(run, **changes)


def test_there_are_more_than_sixty_cells_and_each_has_a_name_of_its_own() -> None:
    names = [one.name for one in cells()]
    assert len(names) == len(set(names)) >= 60


def test_a_dead_rank_makes_sense_only_where_there_are_ranks() -> None:
    assert not [one for one in cells(["killed"]) if one.phase == "pulling"]


def test_an_unknown_cell_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no such cell: burnt/loading"):
        cells(["burnt/loading"])


def test_each_run_of_a_cell_strikes_another_rank() -> None:
    assert [victim(number, 4) for number in range(3)] == [1, 0, 3]
    assert {victim(number, 2) for number in range(3)} == {0, 1}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"notice_s": 3.1}, "noticed after 3.1 s, not within 3 s"),
        ({"notice_s": None}, "noticed never"),
        ({"down_s": 10.5}, "down after 10.5 s, not within 10 s"),
        ({"down_s": None}, "down never"),
        ({"named": False}, "does not name the place and the cause"),
        ({"marks": [Mark("after", "serving", ("degraded",))]}, "status said serving when it was degraded"),
        ({"orphans": ["node 1: a held lock"]}, "left over: node 1: a held lock"),
        ({"ports": ["node 0: 30000"]}, "port held: node 0: 30000"),
        ({"lost_logs": ["rank 2: bye"]}, "log lost: rank 2: bye"),
        ({"next_up": "code 5"}, "next up: code 5"),
        ({"broken": "the phase was not reached"}, "the phase was not reached"),
    ],
)
def test_a_run_fails_for_every_single_thing_that_is_not_as_it_must_be(changes: dict[str, object], what: str) -> None:
    killed = cell("killed/loading")
    assert problems(killed, good(killed.name)) == []
    assert any(what in one for one in problems(killed, good(killed.name, **changes)))


def test_a_status_that_was_asked_while_things_changed_counts_neither_way() -> None:
    assert not Mark("after", "serving", None).wrong


def test_what_does_no_harm_must_do_no_harm() -> None:
    slow = cell("slow/serving")
    assert problems(slow, good(slow.name, notice_s=None, down_s=None, named=False)) == []
    assert problems(slow, good(slow.name, same_gang=False)) == [
        "nothing had to happen to the gang, but it was replaced"
    ]


def test_a_gang_that_is_being_stopped_is_held_to_its_end_alone() -> None:
    stopping = cell("killed/stopping")
    assert bounds(stopping, good(stopping.name)) is None
    assert problems(stopping, good(stopping.name, notice_s=None, named=False)) == []
    assert problems(stopping, good(stopping.name, ended="`down` ended with 4"))


def test_what_a_setting_allows_is_added_to_the_bounds() -> None:
    limit = bounds(cell("hangs/loading"), good("hangs/loading", allowed=30.0))
    assert limit is not None
    assert (limit.notice, limit.down) == (45, 55)


def test_a_cell_passes_only_if_all_its_runs_do_and_one_that_was_not_run_does_not() -> None:
    killed, exits, slow = cell("killed/loading"), cell("exits-0/loading"), cell("slow/serving")
    runs = {
        killed.name: [good(killed.name), good(killed.name, notice_s=2.0)],
        exits.name: [good(exits.name), good(exits.name, orphans=["node 0: x"])],
    }
    found = summary((killed, exits, slow), runs)
    assert (found["cells"], found["passed"], found["runs"], found["orphans"]) == (3, 1, 4, 1)
    assert found["failed"] == ["exits-0/loading", "slow/serving"]
    assert found["worst_notice_s"] == 2.0


def test_the_table_and_the_json_tell_every_problem() -> None:
    killed = cell("killed/loading")
    runs = {killed.name: [good(killed.name, next_up="code 5: no")]}
    assert "next up: code 5: no" in as_text([killed], runs)
    told = as_json([killed], runs, {"machine": "m"})
    assert told["list"][0]["runs"][0]["problems"] == ["next up: code 5: no"]
    assert told["machine"] == "m"


def test_the_matrix_has_a_row_a_fault_and_shows_the_worst_times_or_the_failure() -> None:
    killed, slow = cell("killed/loading"), cell("slow/serving")
    runs = {
        killed.name: [good(killed.name), good(killed.name, notice_s=2.5)],
        slow.name: [good(slow.name, notice_s=None, down_s=None, same_gang=False)],
    }
    shown = matrix(as_json([killed, slow], runs, {})).splitlines()
    assert shown[2] == "| killed |  |  |  | 2.5 / 4.0 |  |  |"
    assert shown[3] == "| slow |  |  |  |  | **1 of 1 failed** |  |"
