from __future__ import annotations

from benchmarks.campaign.counts import crept, grown


def life(*descriptors: int) -> list[dict[str, int]]:
    return [{"controller descriptors": count, "controller children": 0} for count in descriptors]


def test_one_process_more_than_before_is_a_leak() -> None:
    assert [str(one) for one in grown({"processes": 0}, {"processes": 1})] == ["processes: 0 before, 1 after"]


def test_what_went_away_is_none() -> None:
    assert grown({"locks": 1, "volumes": 3}, {"locks": 0, "volumes": 3}) == []


def test_a_watch_that_holds_more_with_every_cycle_leaks() -> None:
    assert [one.what for one in crept([life(20, 22, 24, 26, 28, 30)])] == ["controller descriptors"]


def test_a_watch_that_holds_more_for_a_moment_does_not_leak() -> None:
    assert crept([life(20, 21, 35, 21, 36, 20)]) == []


def test_a_watch_that_was_logging_in_anew_when_it_was_counted_does_not_leak() -> None:
    assert crept([life(20, 8, 9, 20, 20, 21)]) == []


def test_a_life_too_short_to_tell_is_not_judged() -> None:
    assert crept([life(20, 90)]) == []
