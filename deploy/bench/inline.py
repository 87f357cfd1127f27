"""Makes of an SVG file an element of a page: colours by name, ids of its own, words for those who do not see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
SERIES = tuple(f"#a100{place:02d}" for place in range(1, 9))
INK, MUTED, GRID, BAD, PUBLISHED, SURFACE = (f"#b1000{place}" for place in range(1, 7))
"""Colours that stand for the page's, which a dark scheme changes."""
_NAMES = {
    **{colour: f"var(--series-{place})" for place, colour in enumerate(SERIES, 1)},
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BAD: "var(--bad)",
    PUBLISHED: "var(--published)",
    SURFACE: "var(--surface)",
}
_COLOUR = re.compile(r"#[ab]100\d\d")
_FONT = re.compile(r"font-family: [^;]*")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


@dataclass(frozen=True)
class Words:
    """What an image is called and what it shows."""

    title: str
    description: str


def plain(text: str, longest: int = 0) -> str:
    """One line without characters that XML lacks or that turn the text around; cut where it is longer."""
    line = _UNSHOWN.sub(" ", text).strip()
    return line if not longest or len(line) <= longest else line[: longest - 1].rstrip() + "…"


def inlined(text: str, name: str, words: Words) -> str:
    """An <svg> element of an SVG file's text. Its width is the page's."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    _without(root, ("metadata", "style"))
    for element in root.iter():
        _own(element, name)
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-told"}
    for place, (tag, suffix, content) in enumerate(
        (("title", "title", words.title), ("desc", "told", words.description))
    ):
        told = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{suffix}"})
        told.text = plain(content)
        root.insert(place, told)
    return ElementTree.tostring(root, encoding="unicode")


def _without(root: ElementTree.Element, tags: tuple[str, ...]) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in tags:
                parent.remove(child)


def _own(element: ElementTree.Element, name: str) -> None:
    """Ids that no other plot of the page has, and colours and fonts that are the page's."""
    if "id" in element.attrib:
        element.attrib["id"] = f"{name}-{element.attrib['id']}"
    if _LINK in element.attrib:
        element.attrib["href"] = f"#{name}-{element.attrib.pop(_LINK).removeprefix('#')}"
    if "clip-path" in element.attrib:
        element.attrib["clip-path"] = element.attrib["clip-path"].replace("url(#", f"url(#{name}-")
    if "style" in element.attrib:
        style = _COLOUR.sub(lambda found: _NAMES[found.group()], element.attrib["style"])
        element.attrib["style"] = _FONT.sub("font-family: var(--font)", style)
