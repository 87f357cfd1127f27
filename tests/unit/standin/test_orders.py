"""The words by which a running stand-in is told to fail."""

from __future__ import annotations

import pytest

from deploy.lab.standin.orders import KINDS, ordered


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_ordered_by_its_name(kind: str) -> None:
    assert ordered(f"{kind}\n") == (kind, 1)


def test_a_death_has_an_exit_code_and_an_empty_file_orders_nothing() -> None:
    assert ordered("die:137") == ("die", 137)
    assert ordered(" \n") == ("", 1)


@pytest.mark.parametrize("text", ["lunch", "die:soon"])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no such fault|invalid literal"):
        ordered(text)
