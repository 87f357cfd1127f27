"""The scanner of GLM-4.7's format: the same for every way of cutting, the same as a second reader, linear."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.glm47.parts import part
from tests.unit.glm47.reference import Written, read

scanner = part("glm47_scanner")
OFFERED = frozenset({"weather", "now"})
TAGS = ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
HEADS = ["<tool_call>weather<arg_key>", "<tool_call>ghost<arg_key>", "<tool_call>now</tool_call>"]
VALUES = [
    "</arg_key><arg_value>",
    "<arg_key>k</arg_key><arg_value>",
    "</arg_value></tool_call>",
    "</arg_value><arg_key>",
    "</arg_value><tool_call>now</tool_call>",
    "</tool_call>\n<tool_call>weather<arg_key>",
]
SHORT = ["weather", "ghost", "k", " ", "\n", "<", "</", "<arg_", ">", "two words", "x" * 513]
FRAGMENTS = st.one_of(*map(st.sampled_from, (TAGS, TAGS, HEADS, VALUES, SHORT)))
BLANKS = st.sampled_from(["", "", "", " ", "\n"])
WORDS = st.sampled_from([*SHORT, *TAGS, "weather", "now", "k", "a b"]).map(lambda word: [word])
NAMES = st.sampled_from(["weather", "weather", "now", "ghost", "x" * 513])


def written(value: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    """The tokens of a call whose values are drawn from `value`."""
    pair = st.builds(
        lambda b, key, v: ["<arg_key>", key, "</arg_key>", b, "<arg_value>", *v, "</arg_value>", b],
        BLANKS,
        st.sampled_from(["k", "", "a b"]),
        value,
    )
    pairs = st.lists(pair, max_size=2)
    return st.builds(
        lambda b, name, inside: ["<tool_call>", b, name, b, *(t for one in inside for t in one), "</tool_call>"],
        BLANKS,
        NAMES,
        pairs,
    )


PARTS = st.lists(st.one_of(written(st.recursive(WORDS, written, max_leaves=4)), WORDS), max_size=4)
TOKENS = PARTS.map(lambda parts: [token for one in parts for token in one])
FORGETFUL = st.builds(
    lambda tokens, gone: "".join(token for i, token in enumerate(tokens) if i not in gone),
    TOKENS,
    st.sets(st.integers(0, 30), max_size=3),
)
TEXTS = st.one_of(FORGETFUL, st.lists(FRAGMENTS, max_size=24).map("".join))


def events(pieces: list[str]) -> list[Any]:
    """All events, with neighbouring texts joined and calls as the second reader writes them."""
    one = scanner.CallScanner(OFFERED)
    found = [event for piece in pieces for event in one.feed(piece)] + one.finish()
    assert one.finish() == []
    return joined([e if isinstance(e, str) else Written(e.name, e.arguments, e.text) for e in found])


def joined(found: list[str | Written]) -> list[str | Written]:
    out: list[str | Written] = []
    for event in found:
        if isinstance(event, str) and out and isinstance(out[-1], str):
            out[-1] += event
        elif event:
            out.append(event)
    return out


@settings(max_examples=4000)
@given(text=TEXTS, data=st.data())
def test_every_cut_gives_what_the_second_reader_gives(text: str, data: st.DataObject) -> None:
    expected = joined(read(text, OFFERED))
    assert events([text]) == expected
    assert events(list(text)) == expected
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    assert events([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == expected


@settings(max_examples=500)
@given(text=TEXTS)
def test_no_character_is_lost(text: str) -> None:
    assert "".join(event if isinstance(event, str) else event.text for event in events(list(text))) == text


@settings(max_examples=500)
@given(text=TEXTS)
def test_what_a_prefix_gave_is_never_taken_back(text: str) -> None:
    one, told = scanner.CallScanner(OFFERED), []
    for character in text:
        told += one.feed(character)
    calls = [event for event in told if not isinstance(event, str)]
    whole = scanner.CallScanner(OFFERED).feed(text)
    assert [event for event in whole if not isinstance(event, str)] == calls
    assert "".join(e for e in whole if isinstance(e, str)) == "".join(e for e in told if isinstance(e, str))


SIZES = (20_000, 80_000)
FLOODS = {
    "one long value": lambda n: "<tool_call>f<arg_key>k</arg_key><arg_value>" + "x" * n + "</arg_value></tool_call>",
    "beginnings of tags": lambda n: "<tool_cal" * (n // 9),
    "beginnings of tags in a value": lambda n: "<tool_call>f<arg_key>k</arg_key><arg_value>" + "</arg_v" * (n // 7),
    "less-than signs": lambda n: "<" * n,
    "keys without an end": lambda n: "<tool_call>f" + "<arg_key>" * (n // 9),
    "keys without values": lambda n: "<tool_call>f" + "<arg_key>a</arg_key>" * (n // 20),
    "value ends that end nothing": lambda n: (
        "<tool_call>f<arg_key>k</arg_key><arg_value>" + "</arg_value>x" * (n // 13)
    ),
    "value ends and blanks": lambda n: "<tool_call>f<arg_key>k</arg_key><arg_value>" + "</arg_value>    " * (n // 16),
    "calls in a value": lambda n: (
        "<tool_call>f<arg_key>k</arg_key><arg_value>" + "<tool_call>g<arg_key>a</arg_key><arg_value>" * (n // 43)
    ),
    "openings": lambda n: "<tool_call>" * (n // 11),
    "openings and long names": lambda n: ("<tool_call>" + "y" * 512) * (n // 523),
    "openings and blanks": lambda n: ("<tool_call>" + " " * 500 + ">") * (n // 512),
    "broken calls with inner calls": lambda n: (
        "<tool_call>f<arg_key>k</arg_key><arg_value><tool_call>g<arg_key></arg_value><arg_key>" * (n // 86)
    ),
    "blanks": lambda n: "<tool_call>f</tool_call>" + " " * n,
    "short calls": lambda n: "<tool_call>f</tool_call>" * (n // 24),
}


def work(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Characters that the scanner's loops look at, counted where it cuts, joins gaps and joins tokens."""
    done = 0
    cut, take, give_up, end_call = (
        getattr(scanner.CallScanner, name) for name in ("_cut", "_take_gap", "_give_up", "_end_call")
    )

    def counted_cut(self: Any, text: str) -> None:
        nonlocal done
        done += len(text)
        cut(self, text)

    def counted_take(self: Any) -> str:
        nonlocal done
        gap: str = take(self)
        done += len(gap) + 1
        return gap

    def counted_give_up(self: Any, end: int) -> None:
        nonlocal done
        done += sum(len(gap) + len(tag) for gap, tag in self._tokens[:end])
        give_up(self, end)

    def counted_end_call(self: Any, end: int) -> None:
        nonlocal done
        done += 2 * sum(len(gap) + len(tag) for gap, tag in self._tokens[:end])
        end_call(self, end)

    with monkeypatch.context() as patch:
        for name, counted in (
            ("_cut", counted_cut),
            ("_take_gap", counted_take),
            ("_give_up", counted_give_up),
            ("_end_call", counted_end_call),
        ):
            patch.setattr(scanner.CallScanner, name, counted)
        events([text[i : i + size] for i in range(0, len(text), size)])
    return done


@pytest.mark.parametrize("size", [1, 4, 32, 1_000_000])
@pytest.mark.parametrize("flood", FLOODS)
def test_the_work_grows_as_the_text(flood: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (work(FLOODS[flood](n), size, monkeypatch) for n in SIZES)
    assert large <= 1.1 * (SIZES[1] / SIZES[0]) * small + 2000
