"""What counts as trouble, when, and what is planned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.launch.load import Load, Sample
from deploy.launch.pulse import Silent
from deploy.launch.watch.scene import Health, Said, Scene
from deploy.launch.watch.trouble import Trouble, cut_off, leaving, planned, trouble
from tests.unit.launch.watch.scenes import EPOCH, GIB, RULES, at, container, pulse, seen, serving


def judged(scene: Scene, now: float) -> Trouble:
    found = trouble(scene, RULES, now)
    assert found is not None
    return found


def test_ranks_that_run_are_no_trouble() -> None:
    scene = seen(*serving(10), Health(0, 10, True))
    assert trouble(scene, RULES, 12) is None
    assert not planned(scene, 12)
    assert scene.running


@pytest.mark.parametrize("state", ["exited", "dead"])
def test_a_rank_that_ended_is_trouble_at_once(state: str) -> None:
    scene = seen(*serving(10), pulse(2, 11, container(2, state, 10.5, 137)))
    found = judged(scene, 11)
    assert (found.kind, found.rank) == ("ended", 2)
    assert found.text == "rank 2 exited with code 137"


def test_a_container_that_is_only_made_is_no_trouble_yet() -> None:
    assert trouble(seen(*serving(10), pulse(2, 11, container(2, "created", 10.5))), RULES, 11) is None


def test_the_first_to_end_is_named_by_our_clock_though_node_clocks_differ() -> None:
    first = pulse(3, 12, container(3, "exited", 10.2 + 30, 1), ahead=30)
    second = pulse(0, 12, container(0, "exited", 11.0 - 5, 0), ahead=-5)
    scene = seen(*serving(10)[1:3], second, first)
    assert judged(scene, 12).rank == 3


def test_a_slow_answer_of_docker_does_not_change_who_was_first() -> None:
    fast, slow = pulse(1, 10, container(1)), pulse(1, 13, container(1, "exited", 11.5, 1))
    slow = replace(slow, clock=EPOCH + 11.6)
    scene = seen(fast, slow, pulse(2, 13, container(2, "exited", 11.4, 1)), size=4)
    assert judged(scene, 13).rank == 2
    assert scene.nodes[1].ahead == pytest.approx(EPOCH)


def test_a_clock_that_is_set_is_taken_as_it_is_then() -> None:
    scene = seen(pulse(0, 10, container(0)), pulse(0, 11, container(0), ahead=-7200))
    assert scene.nodes[0].ahead == pytest.approx(EPOCH - 7200)


def test_a_paused_rank_is_trouble() -> None:
    assert judged(seen(*serving(10), pulse(1, 11, container(1, "paused"))), 11).kind == "paused"


def test_an_engine_is_given_a_moment_before_it_counts_as_stopped() -> None:
    once = seen(*serving(10), pulse(1, 11, docker_error="Cannot connect to the Docker daemon"))
    assert trouble(once, RULES, 11.5) is None
    found = judged(once.after(pulse(1, 13, docker_error="Cannot connect to the Docker daemon")), 13)
    assert (found.kind, found.rank) == ("engine", 1)


def test_an_engine_that_hung_for_its_pulse_counts_at_once() -> None:
    assert judged(seen(*serving(10), pulse(1, 16, docker_error="no answer in 5 s")), 16).kind == "engine"


def test_a_node_is_away_after_seconds_of_silence_and_not_before() -> None:
    scene = seen(*serving(10), Silent(1, 18, "the connection broke"))
    scene = scene.after(pulse(0, 20.5, container(0)))
    assert trouble(scene, RULES, 20.9) is None
    found = judged(scene, 21.1)
    assert (found.kind, found.rank) == ("silent", 1)
    assert "the connection broke" in found.text


def test_a_connection_that_comes_back_in_time_is_no_trouble() -> None:
    scene = seen(*serving(10), Silent(1, 12, "the connection broke"), *serving(19))
    assert trouble(scene, RULES, 22) is None
    assert scene.nodes[1].lost == ""


def test_when_no_node_is_heard_it_is_this_machine_that_is_away() -> None:
    scene = seen(*serving(10))
    assert cut_off(scene, 22)
    assert trouble(scene, RULES, 22) is None


def test_nodes_whose_last_words_differ_by_a_second_are_not_gone_one_by_one_when_this_machine_is_away() -> None:
    scene = seen(*serving(10), pulse(1, 11, container(1)))
    for now in (20.5, 21.2, 21.9, 22.5):
        assert trouble(scene, RULES, now) is None


def test_removed_everywhere_is_planned_and_no_trouble() -> None:
    scene = seen(*serving(10), *(pulse(rank, 11) for rank in range(4)), *(pulse(rank, 13) for rank in range(4)))
    assert planned(scene, 13.1)
    assert trouble(scene, RULES, 13.1) is None


def test_removed_everywhere_is_planned_only_after_a_moment() -> None:
    scene = seen(*serving(10), *(pulse(rank, 11) for rank in range(4)))
    assert not planned(scene, 11.5)
    assert leaving(scene, 11.5)


def test_nothing_is_planned_while_a_node_was_not_heard_yet() -> None:
    scene = seen(*(pulse(rank, 1) for rank in range(3)), *(pulse(rank, 4) for rank in range(3)))
    assert not planned(scene, 4)
    assert trouble(scene, RULES, 4) is None


def test_removed_where_it_can_be_seen_is_planned_though_a_node_is_away() -> None:
    gone = [pulse(rank, moment) for rank in range(3) for moment in (11.0, 25.0)]
    scene = seen(*serving(10), *gone)
    assert planned(scene, 26)


def test_a_rank_that_was_taken_down_and_is_removed_was_meant_to_go_though_others_are_left() -> None:
    scene = seen(*serving(10), pulse(1, 11), pulse(1, 14))
    assert planned(scene, 14, kept=(0, 1))
    assert not planned(scene, 14, kept=(0, 2))
    assert not planned(scene, 14)


def test_one_removed_rank_among_running_ones_is_trouble() -> None:
    scene = seen(*serving(10), pulse(2, 11), *(one for one in serving(14) if one.rank != 2), pulse(2, 14))
    found = judged(scene, 14)
    assert (found.kind, found.rank) == ("removed", 2)


def test_a_node_that_starves_is_trouble_and_one_that_tells_no_memory_is_not() -> None:
    low = pulse(3, 11, container(3), memory_available=int(0.9 * GIB))
    assert (judged(seen(*serving(10), low), 11).kind) == "memory"
    assert trouble(seen(*serving(10), replace(low, memory_available=0)), RULES, 11) is None


def test_a_hang_is_counted_from_the_last_good_answer() -> None:
    scene = seen(*serving(200), Health(0, 100, True), Health(0, 125, False, "503"))
    assert trouble(scene, RULES, 189) is None
    assert judged(scene.after(pulse(0, 190.5, container(0))), 190.5).kind == "hang"


def test_a_server_that_just_answered_and_hangs_before_its_first_health_answer_is_noticed() -> None:
    scene = seen(*serving(99), Health(0, 40, False, "503"), answered=True)
    assert judged(scene, 99).kind == "hang"


def test_a_hang_names_the_worker_whose_own_port_is_mute() -> None:
    mute = Health(2, 130, False, "no answer")
    scene = seen(*serving(199), Health(0, 100, True), Health(0, 125, False, "503"), mute, Health(1, 130, True))
    found = judged(scene, 199)
    assert found.rank == 2
    assert "rank 0: 503, rank 2: no answer" in found.text


def test_the_first_request_may_compile_for_minutes() -> None:
    scene = seen(*serving(300), Health(0, 100, True), answered=False)
    assert trouble(scene, RULES, 300) is None
    assert judged(seen(*serving(401), Health(0, 100, True), answered=False), 401).kind == "hang"


def test_loading_has_its_own_patience() -> None:
    early, late = serving(1790), serving(1810)
    assert trouble(seen(*early, answered=False), RULES, 1790) is None
    found = judged(seen(*late, Health(0, 1800, False, "503"), answered=False), 1810)
    assert (found.kind, found.rank) == ("late", 0)


def test_a_watch_that_comes_later_asks_before_it_judges() -> None:
    fresh = serving(1000 + 3600)
    assert trouble(seen(*fresh, answered=False, began=4590), RULES, 4600) is None


def test_a_wedge_needs_a_server_that_has_answered_before() -> None:
    healthy = Health(0, 138, True)
    still = [Sample(float(second), Load("/get_load", 2, 0, 700), (12.0,)) for second in range(0, 140, 10)]
    assert judged(seen(*serving(139), healthy, *still), 139).kind == "wedge"
    assert trouble(seen(*serving(139), healthy, *still, answered=False), RULES, 139) is None


def test_one_garbage_text_is_asked_for_again_and_two_are_trouble() -> None:
    once = seen(*serving(10), Said(10, "!" * 64))
    assert trouble(once, RULES, 10) is None
    assert judged(once.after(Said(11, "!" * 64)), 11).kind == "garbage"
    assert trouble(once.after(Said(11, "Red, green and blue.")), RULES, 11) is None


def test_no_text_in_time_is_no_garbage() -> None:
    assert seen(Said(10, None), answered=False).answered is False


def test_a_lock_that_any_node_tells_of_is_seen() -> None:
    assert seen(*serving(10), pulse(3, 11, container(3), holder="`down` of ana")).holder == "`down` of ana"


def test_times_of_tests_are_what_docker_writes() -> None:
    assert at(0.25) == "2027-01-15T08:00:00.250000Z"
