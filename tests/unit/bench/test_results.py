from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from deploy.bench.results import Case, Client, Figure, Repeat, Run, Server, as_csv, as_json, from_json, schema
from deploy.errors import BenchError

RUN = Run(
    suite="context",
    began="2026-01-02T03:04:05Z",
    seconds=12.5,
    seed=7,
    complete=True,
    server=Server("http://127.0.0.1:1", flags={"tp_size": 4}, accept_length=None),
    client=Client("here", "3.11", 31.5),
    cases=[
        Case(
            "512 tokens, cold",
            {"tokens": 512, "prefix": "cold", "stream": True},
            {"ttft_s": Figure("s", 0.2, 0.1, 0.3, 1, "lower")},
            [
                Repeat(True, usage={"completion_tokens": 3}, figures={"ttft_s": 0.2}, chunks=[0.2, 0.3]),
                Repeat(False, "cut", "the connection ended"),
            ],
        ),
        Case("4096 tokens, cold", repeats=[Repeat(False, "no answer", "stalled")]),
    ],
)


def test_a_run_read_back_is_the_run_that_was_written() -> None:
    assert from_json(as_json(RUN), "it") == RUN


def test_what_is_written_fits_the_schema_that_is_committed() -> None:
    root = Path(__file__).resolve().parents[3]
    committed = (root / "bench.schema.json").read_text()
    assert committed == schema()
    validator = jsonschema.Draft202012Validator(json.loads(committed))
    validator.validate(json.loads(as_json(RUN)))
    assert not validator.is_valid(json.loads(as_json(RUN)) | {"surprise": 1})


@pytest.mark.parametrize("change", [{"format": 2}, {"surprise": 1}, {"cases": [{}]}, {"seconds": "long"}])
def test_a_file_of_another_format_is_refused_with_its_name(change: dict[str, object]) -> None:
    with pytest.raises(BenchError, match=r"x\.json holds no result"):
        from_json(json.dumps(json.loads(as_json(RUN)) | change), "x.json")


def test_a_number_that_is_none_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json(replace(RUN, seconds=float("nan")))


def test_the_table_has_a_row_a_figure_and_names_cases_that_have_none() -> None:
    rows = as_csv(RUN).splitlines()
    assert rows[1] == 'context,"512 tokens, cold",ttft_s,s,0.2,0.1,0.3,1,1,lower'
    assert rows[2] == 'context,"4096 tokens, cold",,,,,,0,1,'
