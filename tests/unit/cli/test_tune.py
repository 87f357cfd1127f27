"""Options as SGLang's users write them."""

from __future__ import annotations

import pytest

from deploy.cli.measuring import joined


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--batch-size 1 16 64 --tune", "--batch-size 1,16,64 --tune"),
        ("--batch-size 1 --batch-size 16", "--batch-size 1 --batch-size 16"),
        ("--configs 128 256 128 16 8 4 -n", "--configs 128,256,128,16,8,4 -n"),
        ("compare a b --batch-size 1 2", "compare a b --batch-size 1,2"),
        ("--configs file.json 3", "--configs file.json 3"),
        ("--batch-size", "--batch-size"),
        ("--seed 1 2", "--seed 1 2"),
        ("--batch-size 1,2 3", "--batch-size 1,2 3"),
    ],
)
def test_several_numbers_after_an_option_are_one_list(given: str, expected: str) -> None:
    assert joined(given.split()) == expected.split()
