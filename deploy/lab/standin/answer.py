"""What the stand-in says: sentences and raw GLM-4.7 tool calls made from the request by rules; parses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

# GLM-4.7 writes a call on one line, GLM-4.5 a newline after each part.
BETWEEN = {"glm47": "", "glm45": "\n", "glm": "\n"}
THOUGHT = "The stand-in has no model to think with."


# One token each in GLM's own vocabulary; SGLang 0.5.4's glm45 parser relies on that.
MARK = r"</?(?:tool_call|arg_key|arg_value|think)>"


def tokens(text: str) -> list[str]:
    """Text in pieces of about a token's length; joined they give the text again."""
    return re.findall(rf"{MARK}|\s*\w{{1,6}}|\s*(?!{MARK})[^\w\s]|\s+", text)


def limited(pieces: list[str], most: int | None, ignore_end: bool) -> tuple[list[str], str]:
    """The tokens that are said, and why they end: stop or length."""
    if most is None:
        return pieces, "stop"
    if ignore_end and len(pieces) < most:
        return list(islice(cycle(pieces), most)), "length"
    return pieces[:most], "stop" if len(pieces) <= most else "length"


def sentence(prompt: str, text: str) -> str:
    """The answer to a prompt: the given text, or one that says who speaks."""
    words = prompt.split()
    heard = f"{len(words)} words, the last of them {words[-1]!r}" if words else "nothing"
    return text or f"This is the lab's stand-in and no model speaks here. It read {heard}."


def spoken(messages: Sequence[Any]) -> str:
    """All text of a conversation's messages."""
    return "\n".join(content(message) for message in messages)


def content(message: dict[str, Any]) -> str:
    """The text of one message, whose content is a string, parts, or nothing."""
    parts = message.get("content") or ""
    if isinstance(parts, str):
        return parts
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def called(prompt: str, functions: Sequence[dict[str, Any]], choice: object) -> list[dict[str, Any]]:
    """The functions that a prompt asks for: those whose name it holds a word of, or the one that is demanded."""
    if isinstance(choice, dict):
        named = choice.get("function", {}).get("name")
        return [function for function in functions if function["name"] == named]
    words = set(re.findall(r"[a-z0-9]+", prompt.lower()))
    found = [one for one in functions if meaningful(one["name"]) & words]
    return found or list(functions[:1] if choice == "required" else ())


def meaningful(name: str) -> set[str]:
    """The words of a function's name that say what it is about."""
    return set(re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())) - {
        "get",
        "set",
        "do",
        "the",
    }


def call(name: str, arguments: dict[str, Any], dialect: str) -> str:
    """A call as the model would write it."""
    end = BETWEEN[dialect]
    pairs = "".join(
        f"<arg_key>{key}</arg_key>{end}<arg_value>{written(value)}</arg_value>{end}" for key, value in arguments.items()
    )
    return f"<tool_call>{name}{end}{pairs}</tool_call>"


def written(value: Any) -> str:
    """A value inside a call: strings bare, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def arguments(function: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Arguments that fit a function's schema, taken from the prompt where it offers something."""
    properties = (function.get("parameters") or {}).get("properties") or {}
    offers = Offers(prompt)
    return {name: filled(schema, offers) for name, schema in properties.items()}


class Offers:
    """Values that a prompt offers, each given away once and the last one again and again."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        quoted = [a or b for a, b in re.findall(r'"([^"]+)"|\'([^\']+)\'', prompt)]
        names = re.findall(r"(?<=[\w,:] )[A-Z][\w-]*", prompt)
        self.strings = iter_last([*quoted, *names] or prompt.split()[-1:] or ["none"])
        self.numbers = iter_last([float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", prompt)] or [1.0])
        self.negated = bool(re.search(r"\b(no|not|never|false|without)\b", prompt, re.IGNORECASE))


def iter_last(values: list[Any]) -> Iterator[Any]:
    """The values, then the last of them for ever."""
    yield from values
    while True:
        yield values[-1]


def filled(schema: dict[str, Any], offers: Offers) -> Any:
    """A value of the schema's type."""
    if "enum" in schema:
        named = [value for value in schema["enum"] if str(value).lower() in offers.prompt.lower()]
        return (named or schema["enum"])[0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((one for one in kind if one != "null"), "string") if isinstance(kind, list) else kind
    return MAKERS.get(kind, MAKERS["string"])(schema, offers)


MAKERS: dict[str, Callable[[dict[str, Any], Offers], Any]] = {
    "string": lambda _, offers: str(next(offers.strings)),
    "integer": lambda _, offers: int(next(offers.numbers)),
    "number": lambda _, offers: next(offers.numbers),
    "boolean": lambda _, offers: not offers.negated,
    "null": lambda *_: None,
    "array": lambda schema, offers: [filled(schema.get("items") or {}, offers) for _ in range(2)],
    "object": lambda schema, offers: {k: filled(v, offers) for k, v in (schema.get("properties") or {}).items()},
}
