"""Times and ages, with clocks that are set back."""

from __future__ import annotations

import pytest

from deploy.launch.watch.when import Moment, epoch, stamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-21T08:40:12Z", 1795250412.0),
        ("2026-11-21T08:40:12.123456789Z", 1795250412.123456789),
        ("2026-11-21T10:40:12.5+02:00", 1795250412.5),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_docker_times_are_read(text: str, seconds: float) -> None:
    assert epoch(text) == pytest.approx(seconds)


def test_a_stamp_reads_back() -> None:
    assert epoch(stamp(1795250412.9)) == 1795250412.0


def test_within_one_boot_the_wall_clock_plays_no_part() -> None:
    assert Moment(1000, "a", 50).age(Moment(-99999, "a", 80)) == 30


def test_over_boots_the_wall_clock_counts() -> None:
    assert Moment(1000, "a", 5000).age(Moment(4600, "b", 60)) == 3600


def test_a_clock_that_was_set_back_over_a_boot_cannot_make_a_restart_young_for_ever() -> None:
    before = Moment(9_000_000, "a", 5000)
    assert before.age(Moment(1000, "b", 60)) == 60
    assert before.age(Moment(1000 + 7 * 3600, "b", 7 * 3600)) == 7 * 3600
