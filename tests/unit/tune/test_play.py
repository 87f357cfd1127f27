"""Playing a search: what is known is not measured again, and limits follow the best so far."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from deploy.kernels.table import Config
from deploy.tune.play import play
from deploy.tune.search import Found, search
from deploy.tune.trial import Timing, Trial

CONFIGS = [Config(16, n, 64, 1, 4, stages) for n in (32, 64, 128) for stages in (2, 3)]


class Device:
    """A stand-in for a GPU: the wider and deeper, the faster."""

    def __init__(self) -> None:
        self.made: list[tuple[Trial, float]] = []
        self.prepared: list[Trial] = []

    def prepare(self, trials: Iterable[Trial]) -> None:
        self.prepared += trials

    def time(self, trial: Trial, limit: float) -> Timing:
        self.made.append((trial, limit))
        if not trial.replays:
            return Timing(error=0.001)
        seconds = 1 / trial.config.block_n / trial.config.num_stages * (1 + trial.config.group_m / 1e4)
        if limit and seconds > limit:
            return Timing(slow=True)
        return Timing((seconds,) * trial.replays, seconds)


def played(device: Device, known: dict[Trial, Timing], stop: int = 10**6) -> Found | None:
    playing = play(search(8, {"up": CONFIGS, "down": CONFIGS}), device, known)
    try:
        for _ in range(stop):
            trial, timing = next(playing)
            assert trial not in known
            known[trial] = timing
    except StopIteration as end:
        found: Any = end.value
        return found
    return None


def test_it_ends_with_the_best_pair() -> None:
    found = played(Device(), {})
    assert found
    assert found.best["up"].config == found.best["down"].config == Config(16, 128, 64, 1, 4, 3)


def test_whatever_was_measured_before_an_end_is_not_measured_again() -> None:
    whole: dict[Trial, Timing] = {}
    expected = played(Device(), whole)
    for stop in range(0, len(whole), 3):
        known: dict[Trial, Timing] = {}
        assert played(Device(), known, stop) is None
        again = Device()
        assert played(again, known) == expected
        assert len(again.made) == len(whole) - stop
        assert known == whole
    assert set(again.prepared) <= set(whole)


def test_a_hopeless_first_call_is_known_by_the_best_so_far() -> None:
    device = Device()
    played(device, {})
    limits = [limit for trial, limit in device.made if trial.stage == "sift" and trial.gemm == "up"]
    assert limits[0] == 0
    assert limits[1:] == sorted(limits[1:], reverse=True)
    assert all(limit == 0 for trial, limit in device.made if trial.stage != "sift")


def test_once_there_is_enough_no_more_candidates_are_looked_at() -> None:
    every, first, some = Device(), [CONFIGS[-1]], {"up": CONFIGS, "down": CONFIGS}
    played(every, {})
    least = 2 / CONFIGS[-1].block_n / CONFIGS[-1].num_stages * (1 + 1 / 1e4)
    known: dict[Trial, Timing] = {}
    device = Device()
    found = over(play(search(8, some, first, least * 1.001), device, known), known)
    assert found.best["up"].config == CONFIGS[-1]
    assert sum(trial.stage == "sift" for trial in known) == 2
    assert len(device.made) < len(every.made)
    assert over(play(search(8, some, first, least * 1.001), Device(), dict(known)), {}) == found
    assert over(play(search(8, some, first, least * 0.999), Device(), {}), {}).best == found.best


def over(playing: Generator[tuple[Trial, Timing], None, Found], known: dict[Trial, Timing]) -> Found:
    while True:
        try:
            trial, timing = next(playing)
        except StopIteration as end:
            found: Found = end.value
            return found
        known[trial] = timing
