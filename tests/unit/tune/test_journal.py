"""The journal: nothing that was written is lost, and nothing is taken for something else."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from deploy.errors import TuneError
from deploy.kernels.table import Config
from deploy.tune.journal import Journal
from deploy.tune.trial import Timing, Trial

TRIAL = Trial(64, "up", Config(16, 64, 128, 1, 4, 3), "sift")
TIMING = Timing((1.0e-4, 1.1e-4), 0.004)
PROBLEM = {"shape": {"experts": 160, "block": (128, 128)}}
FACTS = {"device": "NVIDIA GB10", "triton": "3.5.0", "bandwidth": 2.7e11}


def test_what_was_added_is_known_to_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "journal.jsonl"
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert TRIAL not in journal.known
        journal.add(TRIAL, TIMING)
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert journal.known[TRIAL] == TIMING
        assert len(journal.known) == 1


def test_where_a_measurement_was_made_is_known_to_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    elsewhere = Trial(8, "down", TRIAL.config, "sift")
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        journal.add(TRIAL, TIMING, "spark-2")
        journal.add(elsewhere, TIMING)
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert journal.nodes == {TRIAL: "spark-2"}
        assert set(journal.known) == {TRIAL, elsewhere}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        journal.add(TRIAL, TIMING)
        journal.add(Trial(8, "down", TRIAL.config, "sift"), TIMING)
    file.write_bytes(file.read_bytes()[:-cut])
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert len(journal.known) == 1
        journal.add(Trial(16, "down", TRIAL.config, "sift"), Timing(failed="no"))
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert len(journal.known) == 2


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        journal.add(TRIAL, TIMING)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"{nonsense\n" + lines[1])
    with pytest.raises(TuneError, match="line 2 is no JSON"):
        Journal(file, PROBLEM, FACTS)


def test_a_journal_of_another_problem_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file, PROBLEM, FACTS).close()
    with pytest.raises(TuneError, match="holds measurements of another problem"):
        Journal(file, {"shape": {"experts": 8}}, FACTS)


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM, FACTS)), pytest.raises(TuneError, match="another run"):
        Journal(file, PROBLEM, FACTS)


def test_a_journal_of_another_device_is_refused_and_its_ceilings_stay(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file, PROBLEM, FACTS).close()
    with pytest.raises(TuneError, match=r"triton 3\.5\.0, and here it is 3\.6\.0"):
        Journal(file, PROBLEM, {**FACTS, "triton": "3.6.0"})
    with closing(Journal(file, PROBLEM, {**FACTS, "bandwidth": 2.6e11})) as journal:
        assert journal.facts == FACTS


def test_of_a_trial_that_was_made_twice_the_first_timing_stays(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    for timing in (TIMING, Timing((9.0,))):
        with closing(Journal(file, PROBLEM, FACTS)) as journal:
            journal.add(TRIAL, timing)
    assert journal.known == {TRIAL: TIMING}
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize("content", ["notes of mine", "notes of mine\n", "[1, 2]\n", '{\n  "1": {}\n}\n', "3\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(content)
    with pytest.raises(TuneError, match="is no journal"):
        Journal(file, PROBLEM, FACTS)
    assert file.read_text() == content


def test_a_line_that_is_no_measurement_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file, PROBLEM, FACTS).close()
    with file.open("a") as added:
        added.write('{"trial": {}}\n')
    with pytest.raises(TuneError, match="line 2 is no measurement"):
        Journal(file, PROBLEM, FACTS)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="Is a directory"):
        Journal(tmp_path, PROBLEM, FACTS)


def test_the_first_remark_of_a_name_stays(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        journal.remark("before", {"up": 1})
        journal.add(TRIAL, TIMING)
        journal.remark("before", {"up": 2})
    with closing(Journal(file, PROBLEM, FACTS)) as journal:
        assert journal.remarks == {"before": {"up": 1}}
        assert journal.known == {TRIAL: TIMING}
