"""The state of a gang from evidence: each state where it belongs, and never a better one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.launch.evidence import Head, Health, LogLine, Seen, moment, read_start, shown
from deploy.launch.load import Load, Sample
from deploy.launch.node import RunningRank
from deploy.launch.pulse import Pulse
from deploy.launch.standing import EXIT_CODES, Limits, Standings, judge
from deploy.launch.symptom import Rule

NOW = 1_790_000_000.0
BEGAN = shown(NOW - 300)
READY = LogLine(NOW - 100, "The server is fired up and ready to roll!")
WORKER = LogLine(NOW - 100, "Dummy health check server started in background thread at 0.0.0.0:30000")
LIMITS = Limits(1800, 90, Rule(120, 30))
UP, DOWN = "`up` of ana on desk, process 7, since today", "`down` of ana on desk, process 8, since today"
BUSY = Load("/get_load", 1, 0, 500)


def node(
    rank: int, state: str = "running", *, lines: tuple[LogLine, ...] | None = None, health: int = 200, **more: object
) -> Seen:
    holder, error = str(more.pop("holder", "")), str(more.pop("docker_error", ""))
    box = RunningRank(f"c{rank}", rank, "sparks", "sha256:ab", "x", state, BEGAN, **more)  # type: ignore[arg-type]
    pulse = Pulse(rank, 50.0, NOW, 8 << 30, () if state == "absent" else (box,), error, holder)
    said = ((READY,) if rank == 0 else (WORKER,)) if lines is None else lines
    return Seen(rank, f"spark{rank + 1}", "", pulse, said, Health(health, "" if health else "timed out", 2.5))


def away(rank: int) -> Seen:
    return Seen(rank, f"spark{rank + 1}", away="no route to host")


def gang(*others: Seen) -> list[Seen]:
    ranks = {rank: node(rank) for rank in range(4)} | {one.rank: one for one in others}
    return [ranks[rank] for rank in sorted(ranks)]


def told(seen: list[Seen], head: Head = Head((), None)) -> Standings:  # noqa: B008 - it is frozen
    return judge(seen, head, LIMITS)


def test_four_ranks_that_answer_serve_since_the_last_was_ready() -> None:
    found = told(gang())
    assert (found.whole.state, found.whole.since, found.whole.why) == ("serving", shown(NOW - 100), "")
    assert {one.state for one in found.ranks} == {"serving"}


def test_a_killed_rank_is_named_and_the_others_are_not_said_to_serve() -> None:
    found = told(gang(node(2, "exited", exit_code=137), node(0, health=0)))
    assert found.whole.state == "degraded"
    assert found.whole.why == "rank 2: exit code 137"
    assert [one.state for one in found.ranks] == ["degraded", "degraded", "down", "degraded"]
    assert "without rank 0, 2" in found.ranks[1].why


@pytest.mark.parametrize(
    ("changed", "state", "why"),
    [
        ([away(2)], "degraded", "rank 2: node spark3: no route to host"),
        ([node(1, docker_error="no answer in 5 s")], "degraded", "Engine of spark2 does not answer: no answer in 5 s"),
        ([node(3, "absent")], "degraded", "rank 3: no container"),
        ([node(3, "paused")], "degraded", "rank 3: its container is paused"),
        ([node(3, health=0)], "degraded", "no answer from its health port in 2 s: timed out"),
        ([node(0, health=503)], "degraded", "its health port says 503"),
        ([node(0, lines=(), health=503)], "loading", "rank 0: starting"),
        ([node(rank, "absent") for rank in range(4)], "down", "taken down as planned, or never started"),
        ([node(rank, "exited", exit_code=1) for rank in range(4)], "down", "rank 0 ended first; ranks 0, 1,"),
        ([node(rank, "exited", out_of_memory=True, exit_code=137) for rank in range(4)], "down", "out of memory"),
        ([node(rank, "created", error="no runtime") for rank in range(4)], "down", "never started: no runtime"),
        ([away(rank) for rank in range(4)], "unknown", "node spark1: no route"),
        ([away(0), *(node(rank, "exited") for rank in (1, 2, 3))], "unknown", "rank 0: node spark1: no route"),
        ([away(0), *(node(rank, "absent") for rank in (1, 2, 3))], "unknown", "rank 0: node spark1: no route"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_state_and_its_reason(changed: list[Seen], state: str, why: str) -> None:
    found = told(gang(*changed))
    assert found.whole.state == state
    assert why in found.whole.why


def test_of_several_dead_ranks_the_first_is_named_by_the_clock_of_its_own_node() -> None:
    def ended(rank: int, ago: float, clock: float) -> Seen:
        one = node(rank, "exited", exit_code=9)
        assert one.pulse
        box = replace(one.pulse.ranks[0], since=shown(clock - ago))
        return replace(one, pulse=replace(one.pulse, clock=clock, ranks=(box,)))

    found = told(gang(ended(1, 10, NOW), ended(2, 12, NOW + 5000), ended(3, 11, NOW - 5000)))
    assert found.whole.why == "rank 2 ended first; ranks 2, 3, 1: exit code 9"


def test_an_unknown_rank_does_not_hide_how_the_others_ended() -> None:
    found = told(gang(away(0), *(node(rank, "exited", exit_code=9) for rank in (1, 2, 3))))
    assert found.whole.why.endswith("no route to host; rank 1 ended first; ranks 1, 2, 3: exit code 9")


def test_a_start_shows_how_far_it_is_and_since_when() -> None:
    lines = tuple(
        LogLine(NOW - 200 + 10 * at, text)
        for at, text in enumerate(
            (
                "Init torch distributed ends. mem usage=0.32 GB",
                "Load weight begin. avail mem=115 GB",
                "Loading safetensors checkpoint shards:  34% Completed | 31/92",
            )
        )
    )
    assert read_start(lines).since == NOW - 190
    found = told([node(rank, lines=lines, health=0) for rank in range(4)])
    assert found.whole.state == "loading"
    assert found.whole.since == BEGAN
    assert found.whole.why == "ranks 0, 1, 2, 3: weights 34 %"


def test_a_worker_that_is_ready_waits_for_the_others() -> None:
    found = told(gang(node(0, lines=(), health=503)))
    assert [one.state for one in found.ranks] == ["loading"] * 4
    assert found.ranks[1].why == "ready, waits for the others"


def test_a_start_that_takes_too_long_is_degraded() -> None:
    limits = replace(LIMITS, loading=240)
    found = judge([node(rank, lines=(), health=503) for rank in range(4)], Head(), limits)
    assert found.whole.state == "degraded"
    assert "loading for 5 min, still starting" in found.whole.why


def test_the_ready_line_of_an_earlier_run_of_the_container_does_not_count() -> None:
    old = LogLine(NOW - 9000, READY.text)
    assert told(gang(node(0, lines=(old,), health=503))).whole.state == "loading"


def test_who_holds_the_lock_is_said() -> None:
    absent = [node(rank, "absent", holder=UP) for rank in range(4)]
    found = told(absent)
    assert (found.whole.state, found.whole.why) == ("loading", f"no rank has been started yet; {UP}, is at work")
    assert {(one.state, one.why) for one in found.ranks} == {("loading", "not started yet")}
    for other in (DOWN, DOWN.replace("down", "tune")):
        assert told([node(rank, "absent", holder=other) for rank in range(4)]).whole.state == "down"
    assert told([*absent[:3], node(3, lines=(), health=0)]).whole.state == "loading"
    assert told([*absent[:3], node(3, "exited")]).whole.state == "down"
    assert DOWN in told(gang(node(1, "absent", holder=DOWN))).whole.why


def samples(*loads: Load | None, age: float | None = 300.0, watts: tuple[float, ...] = (11.5,)) -> tuple[Sample, ...]:
    return tuple(Sample(float(at), load, watts, age) for at, load in enumerate(loads))


def test_green_health_with_requests_that_stand_still_is_wedged() -> None:
    found = told(gang(), Head(samples(BUSY, BUSY)))
    assert found.whole.state == "wedged"
    assert found.whole.since == shown(NOW - 300)
    assert "no token came for 300 s; no GPU drew more than 12 W (/get_load)" in found.whole.why
    assert [one.state for one in found.ranks] == ["wedged", "degraded", "degraded", "degraded"]


@pytest.mark.parametrize(
    "seen",
    [
        samples(BUSY, replace(BUSY, tokens=501)),
        samples(BUSY, BUSY, age=3),
        samples(BUSY, BUSY, watts=(11.5, 44.0)),
        samples(BUSY, replace(BUSY, running=0)),
        samples(BUSY),
    ],
)
def test_requests_that_move_or_might_are_not_wedged(seen: tuple[Sample, ...]) -> None:
    assert told(gang(), Head(seen)).whole.state == "serving"


def test_a_dead_rank_goes_before_the_wedge_that_it_causes() -> None:
    assert told(gang(node(2, "exited")), Head(samples(BUSY, BUSY))).whole.why == "rank 2: exit code 0"


def test_garbage_behind_green_health_is_degraded_and_silence_is_not_judged() -> None:
    found = told(gang(), Head(text="!!!!!!!!"))
    assert found.whole.state == "degraded"
    assert "garbage: '!' 8 times" in found.whole.why
    assert told(gang(), Head(text="")).whole.state == "serving"
    assert told(gang(), Head(text=" Paris. It is")).whole.state == "serving"


def test_a_busy_rank_0_may_be_slow() -> None:
    slow = gang(node(0, health=0))
    found = told(slow, Head(samples(BUSY, replace(BUSY, tokens=600))))
    assert (found.whole.state, found.ranks[1].state) == ("serving", "serving")
    assert "slow (requests: 1 running, 0 waiting)" in found.whole.why
    prefill = LogLine(NOW - 9, "[t TP0] Prefill batch, #new-seq: 1, #new-token: 8192, #cached-token: 0, ")
    assert "slow (a prefill of 8192 tokens, begun 9 s ago)" in told(slow, Head(samples(None), prefill)).whole.why
    check = replace(prefill, text=prefill.text.replace("8192", "1"))
    assert told(slow, Head(samples(None), check)).whole.state == "degraded"
    assert told(slow, Head(samples(None), replace(prefill, at=NOW - 91))).whole.since == shown(NOW - 91)


RANK = st.one_of(
    st.builds(away, st.just(0)),
    st.builds(
        lambda state, ready, health, holder, error: node(
            0, state, lines=(READY,) if ready else (), health=health, holder=holder, docker_error=error
        ),
        st.sampled_from(
            ["running", "running", "running", "exited", "paused", "absent", "created", "dead", "restarting"]
        ),
        st.booleans(),
        st.sampled_from([200, 200, 503, 0]),
        st.sampled_from(["", "", UP, DOWN]),
        st.sampled_from(["", "", "", "no answer in 5 s"]),
    ),
)
HEAD = st.builds(
    Head,
    st.sampled_from([(), samples(None, None), samples(BUSY, BUSY), samples(BUSY, replace(BUSY, tokens=9))]),
    st.sampled_from([None, LogLine(NOW - 5, "Prefill batch, #new-token: 4096,")]),
    st.sampled_from([None, "Paris", "!!!!!!"]),
)


@given(st.lists(RANK, min_size=1, max_size=5), HEAD)
@example([node(0, "paused", lines=(READY,), health=0)], Head((), LogLine(NOW - 5, "Prefill batch, #new-token: 4096,")))
def test_the_whole_is_never_better_than_its_ranks(found: list[Seen], head: Head) -> None:
    seen = [_as(one, rank) for rank, one in enumerate(found)]
    standings = told(seen, head)
    states = [one.state for one in standings.ranks]
    boxes = [one.pulse.container if one.pulse and not one.pulse.docker_error else None for one in seen]
    runs = [bool(box and box.state == "running") for box in boxes]
    unseen = [one.pulse is None or bool(one.pulse.docker_error) for one in seen]
    assert {standings.whole.state, *states} <= EXIT_CODES.keys()
    assert (standings.whole.state == "serving") == (set(states) == {"serving"})
    assert ("serving" in states) == (standings.whole.state == "serving")
    if not all(runs):
        assert "serving" not in states
    if any(unseen):
        assert standings.whole.state in ("degraded", "unknown")
    if any(runs):
        assert standings.whole.state not in ("down", "unknown")
    if standings.whole.state != "serving":
        assert standings.whole.why


def _as(seen: Seen, rank: int) -> Seen:
    """The same evidence as of another rank."""
    pulse = seen.pulse and replace(
        seen.pulse, rank=rank, ranks=tuple(replace(one, rank=rank) for one in seen.pulse.ranks)
    )
    return replace(seen, rank=rank, pulse=pulse)


def test_times_are_read_as_docker_writes_them() -> None:
    assert moment("2026-01-01T00:00:00.123456789Z") == pytest.approx(1767225600.123456)
    assert moment("2026-01-01T00:00:00Z") == 1767225600
    assert moment("0001-01-01T00:00:00Z") is None
    assert moment("soon") is None
    assert shown(1767225600.9) == "2026-01-01T00:00:00Z"
    assert shown(None) == ""
