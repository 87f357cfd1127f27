"""Texts to ask with: prose, code and random words of a wanted length, each with a beginning that no other has. Pure.

The same seed and name give the same text. It is made up of lists of words, so it means little; it has the length, the
tokens and the regularity of its kind, which is what speed and speculation depend on.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prose", "code", "random"]


def _listed(words: str) -> list[str]:
    return words.split("|")


KINDS: tuple[Kind, ...] = ("prose", "code", "random")
WHO = _listed("engineer|baker|captain|teacher|doctor|farmer|printer|sailor|judge|painter|miller|clerk|driver|nurse")
DOES = _listed("finds|repairs|carries|describes|counts|paints|remembers|follows|opens|measures|sells|watches")
LIKE = _listed("old|small|heavy|green|broken|quiet|narrow|bright|wooden|empty|distant|careful|slow|foreign")
WHAT = _listed("bridge|letter|engine|garden|ledger|window|harbour|kettle|map|clock|ladder|wagon|field|lantern")
WHERE = _listed("beside the river|after the long winter|at the edge of town|before anyone else|near the station")
LINK = _listed("Later|However|By noon|In the end|Without a word|Two days on|As ever")
VERBS = _listed("load|merge|count|filter|rank|split|scale|join|parse|clean")
NOUNS = _listed("rows|items|nodes|edges|values|users|files|blocks|events|totals")
TEMPLATE = """def {verb}_{noun}_{number}({noun}, limit={limit}):
    \"\"\"Return the {noun} that {verb} keeps.\"\"\"
    result = []
    for index, item in enumerate({noun}):
        if item.{field} > limit and index % {step} == 0:
            result.append(item.{field} + {limit})
    return sorted(result)

"""


@dataclass(frozen=True)
class Scale:
    """How long a text is in tokens, as the server itself counts: `overhead` tokens and one each `characters`."""

    characters: float = 4.0
    overhead: float = 0.0

    @classmethod
    def between(cls, short: tuple[int, int], long: tuple[int, int]) -> Scale:
        """From two texts, each as (characters, prompt tokens). Without a difference in tokens, the default."""
        tokens = long[1] - short[1]
        if tokens <= 0 or long[0] <= short[0]:
            return cls()
        each = (long[0] - short[0]) / tokens
        return cls(each, max(0.0, short[1] - short[0] / each))

    def length(self, tokens: int) -> int:
        """Characters of a text that makes a prompt of about so many tokens."""
        return max(1, round((tokens - self.overhead) * self.characters))


def text(kind: Kind, characters: int, seed: int, name: str) -> str:
    """So many characters of a kind; its first line is of this seed and name alone, so that no prefix cache knows it."""
    dice = random.Random(f"{seed}/{kind}/{name}")
    mark = hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:16]
    parts, size = [f"Document {mark}.\n\n"], 0
    for part in MAKERS[kind](dice):
        parts.append(part)
        size += len(part)
        if size >= characters:
            break
    return "".join(parts)[: max(characters, len(parts[0]))]


def _prose(dice: random.Random) -> Iterator[str]:
    while True:
        choose = dice.choice
        said = f"the {choose(WHO)} {choose(DOES)} the {choose(LIKE)} {choose(WHAT)} {choose(WHERE)}"
        start = f"{choose(LINK)}, {said}" if dice.random() < 0.4 else said[0].upper() + said[1:]
        yield f"{start}.{choose('    ' + chr(10))}" if dice.random() < 0.9 else f"{start}.\n\n"


def _code(dice: random.Random) -> Iterator[str]:
    while True:
        yield TEMPLATE.format(
            verb=dice.choice(VERBS),
            noun=dice.choice(NOUNS),
            number=dice.randrange(10_000),
            limit=dice.randrange(100),
            field=dice.choice(("size", "score", "weight", "age")),
            step=dice.randint(2, 9),
        )


def _random(dice: random.Random) -> Iterator[str]:
    while True:
        yield "".join(dice.choices(string.ascii_lowercase, k=dice.randint(2, 9))) + " "


MAKERS: dict[Kind, Callable[[random.Random], Iterator[str]]] = {"prose": _prose, "code": _code, "random": _random}
