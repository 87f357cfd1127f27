"""Work that is counted without a gap."""

from __future__ import annotations

import threading

from deploy.remote.pending import Pending


def test_settling_waits_for_work_that_has_begun() -> None:
    pending, inside, leave = Pending(), threading.Event(), threading.Event()

    def work() -> None:
        with pending.one(0) as begins:
            assert begins
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(5)
    assert not pending.settle(0.05)
    leave.set()
    assert pending.settle(5)
    thread.join()


def test_work_of_an_earlier_generation_never_begins() -> None:
    pending = Pending()
    before = pending.generation
    assert pending.settle(0)
    with pending.one(before) as begins:
        assert not begins
    with pending.one(pending.generation) as begins:
        assert begins
