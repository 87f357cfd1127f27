"""What usually mends an error of Docker's."""

import pytest

from deploy.remote.execute import HINTS, hint_for


@pytest.mark.parametrize(("mark", "hint"), HINTS)
def test_every_mark_leads_to_its_own_hint(mark: str, hint: str) -> None:
    assert hint_for(f"docker: Error: {mark.upper()} ...") == hint


def test_an_unknown_error_is_still_given_a_next_step() -> None:
    assert "by hand" in hint_for("something else")
