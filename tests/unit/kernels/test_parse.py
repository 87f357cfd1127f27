"""Files that are no tables are refused, by key and all at once; nothing ends in a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.kernels.parse import MAX_BYTES, TableError, parse
from deploy.kernels.table import Table
from tests.unit.kernels.samples import GOOD, entries, of, tables, text


def problems(content: str | bytes) -> dict[str, str]:
    """What is wrong, by key."""
    with pytest.raises(TableError) as caught:
        parse(content, "FILE.json")
    assert all(line.startswith("FILE.json: ") for line in str(caught.value).splitlines())
    return {one.key: one.what for one in caught.value.problems}


@given(table=tables)
def test_a_table_is_read_as_it_was_written(table: Table) -> None:
    read = parse(of(table))
    assert read == table
    assert list(read.entries) == list(table.entries)


def test_every_optional_field_is_kept() -> None:
    entry = GOOD | {"num_ctas": 1, "waves_per_eu": 2, "USE_TMA": True}
    assert parse(text({1: entry})).entries[1].as_json() == entry


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        (b"", "", "not JSON: line 1, column 1"),
        (b'{"1": {"BLOCK_SIZE_M": 16', "", "not JSON: line 1"),
        (b"\xef\xbb\xbf{}", "", "byte order mark"),
        (b"\xff\xfe{", "", "not UTF-8 text: byte 0"),
        (json.dumps({"1": GOOD}).encode("utf-16"), "", "not UTF-8"),
        ('{"\ud800": {}}', "", "not UTF-8"),
        ("[" * 100_000, "", "nested too deeply"),
        ('{"1":' * 100_000, "", "nested too deeply"),
        (b" " * (MAX_BYTES + 1), "", "larger than 1,048,576 bytes"),
        ("[]", "", "must be an object of entries by batch size, found a list"),
        ("null", "", "found null"),
        ("NaN", "", "found NaN"),
        ("9" * 5000, "", "must be an object"),
        ("{}", "", "has no entries"),
        (text({"1": 5}), "1", "must be an object with BLOCK_SIZE_M"),
        (text({"1": [GOOD]}), "1", "found a list"),
        (text({"0": GOOD}), "0", "is not a batch size"),
        (text({"-1": GOOD}), "-1", "is not a batch size"),
        (text({"01": GOOD}), "01", "is not a batch size"),
        (text({"1_0": GOOD}), "1_0", "is not a batch size"),
        (text({"1.0": GOOD}), "'1.0'", "is not a batch size"),
        (text({" 1": GOOD}), "' 1'", "is not a batch size"),
        (text({"\u0663": GOOD}), "'\\u0663'", "is not a batch size"),
        (text({"": GOOD}), "''", "is not a batch size"),
        (text({"triton_version": GOOD}), "triton_version", "is not a batch size"),
        (text({str(2**31): GOOD}), str(2**31), "is not a batch size"),
        (f'{{"1": {text(GOOD)}, "1": {text(GOOD)}}}', "1", "is given twice"),
        ('{"64": {"num_warps": 4, "num_warps": 8}}', "64.num_warps", "is given twice"),
        (text({"64": GOOD | {"color": 3}}), "64.color", "is no field of an entry"),
        (text({"64": GOOD | {"\x1b[31m\ud800": 3}}), "64.'\\x1b[31m\\ud800'", "is no field of an entry"),
        (text({"64": GOOD | {"USE_TMA": 1}}), "64.USE_TMA", "must be true or false, found 1"),
    ],
)
def test_what_is_no_table_is_refused_by_its_key(content: str | bytes, key: str, words: str) -> None:
    assert words in problems(content)[key]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("num_warps", True, "must be a whole number, found true"),
        ("num_warps", 4.0, "must be a whole number, found 4.0"),
        ("num_warps", "4", "must be a whole number, found '4'"),
        ("num_warps", None, "must be a whole number, found null"),
        ("num_warps", [4], "found a list"),
        ("num_warps", {}, "found an object"),
        ("num_warps", float("nan"), "found NaN"),
        ("num_stages", float("inf"), "found Infinity"),
        ("num_warps", 3, "must be a power of two, found 3"),
        ("num_warps", 64, "must be from 1 to 32"),
        ("num_warps", 0, "must be from 1 to 32"),
        ("num_stages", 0, "must be from 1 to 256"),
        ("num_stages", -2, "must be from 1 to 256, found -2"),
        ("GROUP_SIZE_M", 0, "must be from 1"),
        ("BLOCK_SIZE_M", 48, "must be a power of two, found 48"),
        ("BLOCK_SIZE_M", 0, "must be from 1 to 65536"),
        ("BLOCK_SIZE_N", -16, "must be from 1 to 65536"),
        ("BLOCK_SIZE_K", 8, "must be from 16 to 65536"),
        ("BLOCK_SIZE_K", 10**30, "must be from 16 to 65536"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_may_be(field: str, value: Any, words: str) -> None:
    assert words in problems(text({"64": GOOD | {field: value}}))[f"64.{field}"]


def test_a_number_longer_than_python_reads_is_refused_by_its_key() -> None:
    content = text({"64": GOOD | {"BLOCK_SIZE_K": "HERE"}}).replace('"HERE"', "1" + "0" * 5000)
    assert "must be from 16 to 65536" in problems(content)["64.BLOCK_SIZE_K"]


@pytest.mark.parametrize("field", list(GOOD))
def test_a_missing_field_is_named(field: str) -> None:
    entry = {name: value for name, value in GOOD.items() if name != field}
    assert problems(text({"64": entry})) == {f"64.{field}": "is missing"}


def test_a_tile_beyond_tritons_limit_is_refused_as_a_whole() -> None:
    assert "elements, Triton's limit" in problems(text({"64": GOOD | {"BLOCK_SIZE_M": 65536}}))["64"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = problems(text({"x": GOOD, "2": GOOD | {"num_warps": 3, "num_stages": -1}, "4": {}}))
    assert found.keys() >= {"x", "2.num_warps", "2.num_stages", "4.BLOCK_SIZE_M", "4.num_stages"}


def test_a_thousand_mistakes_are_counted_not_listed() -> None:
    with pytest.raises(TableError) as caught:
        parse(text({f"k{number}": GOOD for number in range(1000)}))
    assert str(caught.value).splitlines()[-1] == "table: and 980 more"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid table with one thing in it changed, as bytes."""
    whole: dict[Any, Any] = json.loads(of(draw(tables)))
    key = draw(st.sampled_from(sorted(whole)))
    kind = draw(st.sampled_from(["field", "value", "entry", "key", "cut", "byte"]))
    if kind == "field":
        whole[key][draw(st.text(max_size=20))] = draw(VALUES)
    elif kind == "value":
        whole[key][draw(st.sampled_from(sorted(GOOD)))] = draw(VALUES)
    elif kind == "entry":
        whole[key] = draw(VALUES)
    elif kind == "key":
        whole[draw(st.text(max_size=12))] = whole.pop(key)
    content = json.dumps(whole).encode()
    place = draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:place]
    return content[:place] + draw(st.binary(max_size=3)) + content[place + 1 :] if kind == "byte" else content


@given(content=mutated() | st.binary(max_size=200) | st.text(max_size=200))
@settings(max_examples=600)
def test_whatever_comes_is_a_table_or_is_refused_with_its_name(content: bytes | str) -> None:
    table, refused = outcome(content)
    assert all(line.startswith("FILE.json: ") for line in refused)
    assert all(line.isprintable() and line.encode() for line in refused)
    assert refused or (table and parse(of(table)) == table)


def outcome(content: bytes | str) -> tuple[Table | None, list[str]]:
    """The table, or the lines of the refusal."""
    try:
        return parse(content, "FILE.json"), []
    except TableError as error:
        return None, str(error).split("\n")


@given(config=entries, field=st.sampled_from(sorted(GOOD)), value=VALUES)
def test_no_value_but_a_legal_number_passes(config: Any, field: str, value: Any) -> None:
    content = text({"8": config.as_json() | {field: value}})
    try:
        read = parse(content).entries[8].as_json()[field]
    except TableError:
        return
    assert type(value) is int
    assert read == value
