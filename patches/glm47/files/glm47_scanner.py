"""Cuts a text that arrives in pieces into plain text and GLM-4.7 tool calls; knows no schema and no SGLang.

Part of sglang-spark. The text is read as tags and the gaps between them, and every decision is taken when a tag is
complete, so the way a text is cut cannot matter. Each character is looked at a fixed number of times.

A value ends at the </arg_value> that stands, but for white space, right before <arg_key> or </tool_call>; a call ends
at a </tool_call> outside its values. A whole call written inside a value, from <tool_call> to </tool_call>, is part
of that value. Where the model forgot a tag, the beginning of a call to an offered tool settles it: right after
</arg_value>, or right after a </tool_call> that nothing inside the value opened. What is no call stays text.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

OPEN, CLOSE = "<tool_call>", "</tool_call>"
KEY, KEY_END, VALUE, VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"

_TAG = re.compile(r"</?(?:tool_call|arg_key|arg_value)>")
_BEGINNINGS = {tag[:n] for tag in (OPEN, CLOSE, KEY, KEY_END, VALUE, VALUE_END) for n in range(1, len(tag))}
_LONGEST = len(CLOSE)
_HEAD_LENGTH = 512  # of a name or a key, with the white space around it
# Tags inside a value are remembered as letters, each after the kind of gap before it: blank, word, other.
_LETTER = {OPEN: "O", CLOSE: "C", KEY: "K", KEY_END: "k", VALUE: "V", VALUE_END: "v"}
_INNER_CALL = re.compile(r"OwK.k_V\Z")


@dataclass(frozen=True)
class Call:
    """A call as it was written: its name, its arguments in order, and all of its text."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    text: str


Event = str | Call


class CallScanner:
    """One answer of the model. `offered` holds the names of the tools that the request offers."""

    def __init__(self, offered: Container[str] = ()) -> None:
        self.offered = offered
        self._gap: list[str] = []  # since the last tag
        self._edge = ""  # what may be the beginning of a tag
        self._events: list[Event] = []
        self._state = self._in_text
        self._tokens: list[tuple[str, str]] = []  # of the call that is open: (gap, tag)
        self._name = self._argument = ""
        self._arguments: list[tuple[str, str]] = []
        self._value_at = self._depth = 0
        self._marks = ""

    def feed(self, piece: str) -> list[Event]:
        """All text and calls that are certain with this piece."""
        if self._edge or "<" in piece:
            self._cut(self._edge + piece)
        else:
            self._gap.append(piece)
        if self._state != self._in_value:
            self._release()
        return self._taken()

    def finish(self) -> list[Event]:
        """What is left at the end of the text. An open call is text, unless a stray </tool_call> ends the answer."""
        self._gap.append(self._edge)
        self._edge, gap = "", self._take_gap()
        if self._state == self._in_value and self._depth == 0 and self._marks.endswith("C") and not gap.strip():
            self._end_value(-1)
            self._end_call(len(self._tokens))
        else:
            self._give_up(len(self._tokens))
        self._say(gap)
        return self._taken()

    def _cut(self, text: str) -> None:
        at = 0
        for match in _TAG.finditer(text):
            self._gap.append(text[at : match.start()])
            self._state(self._take_gap(), match.group())
            at = match.end()
        edge = text.rfind("<", max(at, len(text) - _LONGEST))
        edge = edge if edge >= 0 and text[edge:] in _BEGINNINGS else len(text)
        self._gap.append(text[at:edge])
        self._edge = text[edge:]

    def _release(self) -> None:
        """Give out what can no longer become a call, without waiting for the next tag."""
        gap = self._take_gap()
        if self._state != self._in_text and self._hopeless(gap):
            self._give_up(len(self._tokens))
        if self._state != self._in_text:
            self._gap.append(gap)
            return
        self._say(gap)
        if not OPEN.startswith(self._edge):
            self._say(self._edge)
            self._edge = ""

    def _hopeless(self, gap: str) -> bool:
        """Whether no call can have this where a name, a key or the blank between a key and its value is due."""
        if len(gap) > _HEAD_LENGTH:
            return True
        if self._state == self._after_key:
            return bool(gap.strip())
        return self._state == self._in_name and not _one_word(gap)

    def _in_text(self, gap: str, tag: str) -> None:
        self._say(gap)
        if tag == OPEN:
            self._begin_call()
        else:
            self._say(tag)

    def _in_name(self, gap: str, tag: str) -> None:
        self._tokens.append((gap, tag))
        if self._hopeless(gap) or not gap.strip() or tag not in (KEY, CLOSE):
            self._broken()
        else:
            self._named(gap, tag)

    def _in_key(self, gap: str, tag: str) -> None:
        self._tokens.append((gap, tag))
        self._argument = gap.strip()
        if self._hopeless(gap) or tag not in (KEY_END, VALUE):
            self._broken()
        elif tag == VALUE:  # </arg_key> was forgotten
            self._begin_value()
        else:
            self._state = self._after_key

    def _after_key(self, gap: str, tag: str) -> None:
        self._tokens.append((gap, tag))
        if self._hopeless(gap) or tag not in (VALUE, KEY, CLOSE):
            self._broken()
        elif tag == VALUE:
            self._begin_value()
        elif tag == KEY:  # a key without a value is passed over
            self._state = self._in_key
        else:
            self._end_call(len(self._tokens))

    def _in_value(self, gap: str, tag: str) -> None:
        self._tokens.append((gap, tag))
        self._marks = (self._marks + _kind(gap) + _LETTER[tag])[-8:]
        if self._depth == 0 and self._ends(gap, tag):
            return
        if self._marks.endswith("OwC"):
            self._marks = self._marks[:-1] + "x"  # a call without arguments, opened and closed inside the value
        elif tag == CLOSE and self._depth:
            self._depth -= 1
            self._marks = self._marks[:-1] + "x"
        elif _INNER_CALL.search(self._marks):
            self._depth += 1

    def _ends(self, gap: str, tag: str) -> bool:
        """End the value, and the call with it, if this tag shows that it has ended."""
        if self._marks.endswith("v_K"):
            self._end_value(-2)
            self._state = self._in_key
        elif self._marks.endswith("v_C"):
            self._end_value(-2)
            self._end_call(len(self._tokens))
        elif self._marks.endswith(("v_OwK", "v_OwC", "C_OwK", "C_OwC")) and gap.strip() in self.offered:
            between = self._tokens[-2][0]
            self._end_value(-3)
            self._end_call(len(self._tokens) - 2)
            self._say(between)
            self._begin_call()
            self._tokens.append((gap, tag))
            self._named(gap, tag)
        else:
            return False
        return True

    def _begin_call(self) -> None:
        self._tokens, self._arguments = [("", OPEN)], []
        self._state = self._in_name

    def _named(self, gap: str, tag: str) -> None:
        self._name = gap.strip()
        self._state = self._in_key
        if tag == CLOSE:
            self._end_call(len(self._tokens))

    def _begin_value(self) -> None:
        self._value_at, self._depth, self._marks = len(self._tokens), 0, ""
        self._state = self._in_value

    def _end_value(self, last: int) -> None:
        """The value reaches up to the tag of the token `last`, counted from the end."""
        end = len(self._tokens) + last
        value = "".join(gap + tag for gap, tag in self._tokens[self._value_at : end]) + self._tokens[end][0]
        self._arguments.append((self._argument, value))

    def _end_call(self, end: int) -> None:
        text = "".join(gap + tag for gap, tag in self._tokens[:end])
        self._events.append(Call(self._name, tuple(self._arguments), text))
        self._tokens, self._state = [], self._in_text

    def _broken(self) -> None:
        """What was taken for a call is text up to the last tag, which is looked at anew."""
        gap, tag = self._tokens[-1]
        self._give_up(len(self._tokens) - 1)
        self._in_text(gap, tag)

    def _give_up(self, end: int) -> None:
        self._say("".join(gap + tag for gap, tag in self._tokens[:end]))
        self._tokens, self._state = [], self._in_text

    def _take_gap(self) -> str:
        gap = "".join(self._gap)
        self._gap = []
        return gap

    def _say(self, text: str) -> None:
        if text:
            self._events.append(text)

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _one_word(gap: str) -> bool:
    """Whether this is a name or the beginning of one."""
    return len(gap.split()) < 2 and "<" not in gap and ">" not in gap


def _kind(gap: str) -> str:
    if not gap or gap.isspace():
        return "_"
    return "w" if len(gap) <= _HEAD_LENGTH and _one_word(gap) else "."
