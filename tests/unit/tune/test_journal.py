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


def test_what_was_added_is_known_to_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "journal.jsonl"
    with closing(Journal(file, PROBLEM)) as journal:
        assert TRIAL not in journal.known
        journal.add(TRIAL, TIMING)
    with closing(Journal(file, PROBLEM)) as journal:
        assert journal.known[TRIAL] == TIMING
        assert len(journal.known) == 1


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM)) as journal:
        journal.add(TRIAL, TIMING)
        journal.add(Trial(8, "down", TRIAL.config, "sift"), TIMING)
    file.write_bytes(file.read_bytes()[:-cut])
    with closing(Journal(file, PROBLEM)) as journal:
        assert len(journal.known) == 1
        journal.add(Trial(16, "down", TRIAL.config, "sift"), Timing(failed="no"))
    with closing(Journal(file, PROBLEM)) as journal:
        assert len(journal.known) == 2


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM)) as journal:
        journal.add(TRIAL, TIMING)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"{nonsense\n" + lines[1])
    with pytest.raises(TuneError, match="line 2 is no JSON"):
        Journal(file, PROBLEM)


def test_a_journal_of_another_problem_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    Journal(file, PROBLEM).close()
    with pytest.raises(TuneError, match="something else"):
        Journal(file, {"shape": {"experts": 8}})


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with closing(Journal(file, PROBLEM)), pytest.raises(TuneError, match="another run"):
        Journal(file, PROBLEM)
