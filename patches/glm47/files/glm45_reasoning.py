"""The thought of GLM-4.5 to 4.7 apart from the answer, in one pass: a stream gives what the whole text gives."""

import re
from typing import Any, List, NamedTuple, Optional, Tuple

START, END = "<think>", "</think>"
_NAME = r"<tool_call>\s{0,8}[^\s<>]{1,256}\s{0,8}"


def _begun(word: str) -> str:
    """A pattern for the word and for everything that it begins with, from its second character on."""
    pattern = ""
    for character in reversed(word[1:]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return re.escape(word[0]) + pattern


def _unfinished(*patterns: str) -> "re.Pattern[str]":
    return re.compile(f"(?:{'|'.join(patterns)})\\Z")


# A tag in the middle of a thought is a call only where a name and the next tag follow it: a thought may speak of tags.
_CALL = re.compile(f"{END}|{_NAME}(?=<arg_key>|</tool_call>)")
_CALL_BEGUN = _unfinished(
    _begun(END), _begun("<tool_call>"), r"<tool_call>\s{1,8}", f"{_NAME}(?:{_begun('<arg_key>')}|{_begun('</tool_call>')})?"
)
_END, _END_BEGUN = re.compile(END), _unfinished(_begun(END))
_TAG = re.compile(f"{END}|</?tool_call>")
_TAG_BEGUN = _unfinished(_begun(END), _begun("<tool_call>"), _begun("</tool_call>"))


class Result(NamedTuple):
    """What a piece of text brought."""

    normal_text: str
    reasoning_text: str


def begins_in_thought(request: Any) -> bool:
    """Does the prompt of this request end with an open <think>? So does GLM-4.7's template unless told otherwise."""
    settings = getattr(request, "chat_template_kwargs", None) or {}
    if not settings.get("enable_thinking", True):
        return False
    messages = getattr(request, "messages", None)
    if messages and getattr(request, "continue_final_message", False):
        last = messages[-1]
        return not (last.role == "assistant" and END in str(last.content))
    return True


class Glm45Detector:
    """Takes text as it comes. White space around the thought is dropped; the answer is kept to the letter."""

    think_start_token, think_end_token = START, END

    def __init__(self, stream_reasoning: bool = True, force_reasoning: bool = True):
        self._in_thought = force_reasoning
        self._streams = stream_reasoning
        self._calls = True
        self._phase = self._beginning
        self._rest = ""
        self._blanks: List[str] = []
        self._in_call = False
        self._thought: List[str] = []
        self._answer: List[str] = []

    def expect_calls(self, request: Any, tool_call_parser: Optional[str]) -> None:
        """Where no call can be meant, <tool_call> in a thought is a part of it."""
        self._calls = bool(request.tools and request.tool_choice == "auto" and tool_call_parser)

    def detect_and_parse(self, text: str) -> Result:
        """The whole text at once."""
        whole = type(self)(True, self._in_thought)
        whole._calls = self._calls
        return whole.feed(text, True)

    def parse_streaming_increment(self, new_text: str) -> Result:
        """The next piece of a stream."""
        return self.feed(new_text, False)

    def parse_chunk(self, text: str, finish_reason: Any) -> Tuple[str, str]:
        """(thought, answer) of the next piece; the piece that has a finish reason is the last."""
        result = self.feed(text, finish_reason is not None)
        return result.reasoning_text, result.normal_text

    def feed(self, text: str, last: bool) -> Result:
        """What the next piece brings. What could still become a tag is held back, unless the piece is the last."""
        self._rest += text
        phase = None
        while phase != self._phase:
            phase = self._phase
            phase(last)
        thought, answer = "", "".join(self._answer)
        if self._streams or last or self._phase != self._thinking:
            thought = "".join(self._thought)
            self._thought.clear()
        self._answer.clear()
        return Result(answer, thought)

    def _beginning(self, last: bool) -> None:
        """Tags right at the start say whether a thought comes; without one it is as the prompt left it."""
        bare = self._rest.lstrip()
        self._blanks.append(self._rest[: len(self._rest) - len(bare)])
        while bare.startswith(START):
            self._in_thought = True
            self._blanks.clear()
            bare = bare[len(START) :].lstrip()
        self._rest = bare
        if bare.startswith(END):
            self._blanks.clear()
            self._rest = bare[len(END) :]
            self._phase = self._gap
        elif last or not (START.startswith(bare) or END.startswith(bare)):
            if self._in_thought:
                self._blanks.clear()
            else:
                self._answer += self._blanks
            self._phase = self._thinking if self._in_thought else self._answering

    def _thinking(self, last: bool) -> None:
        """Until </think>, or a call."""
        match = (_CALL if self._calls else _END).search(self._rest)
        if match is None:
            self._think(self._released(_CALL_BEGUN if self._calls else _END_BEGUN, last))
            return
        self._think(self._rest[: match.start()])
        self._blanks.clear()
        ended = match.group() == END
        self._rest = self._rest[match.end() if ended else match.start() :]
        self._phase = self._gap if ended else self._calling

    def _think(self, text: str) -> None:
        """White space is given out only when more of the thought follows."""
        body = text.rstrip()
        if body:
            self._thought += [*self._blanks, body]
            self._blanks.clear()
        if len(body) < len(text):
            self._blanks.append(text[len(body) :])

    def _calling(self, last: bool) -> None:
        """After a call that ended the thought: a late </think> outside of the calls says nothing and is dropped."""
        for tag in _TAG.finditer(self._rest):
            if tag.group() != END:
                self._in_call = tag.group() == "<tool_call>"
            elif not self._in_call:
                self._answer.append(self._rest[: tag.start()])
                self._rest = self._rest[tag.end() :]
                self._phase = self._answering
                return
        self._answer.append(self._released(_TAG_BEGUN, last))

    def _gap(self, last: bool) -> None:
        """White space between the thought and the answer."""
        self._rest = self._rest.lstrip()
        if self._rest:
            self._phase = self._answering

    def _answering(self, last: bool) -> None:
        self._answer.append(self._rest)
        self._rest = ""

    def _released(self, begun: "re.Pattern[str]", last: bool) -> str:
        """What cannot become a tag any more; the rest waits."""
        match = None if last else begun.search(self._rest, max(0, len(self._rest) - 320))
        at = match.start() if match else len(self._rest)
        text, self._rest = self._rest[:at], self._rest[at:]
        return text
