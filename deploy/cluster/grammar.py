"""What text the fields of cluster.yaml may hold, and how a text that may not is told. Knows no field by name."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

_BREAKS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Control characters, and what some reader takes for the end of a line."""
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TAIL = rf"[^:{_BREAKS}]*"
_HERE = rf"(~|~?/{_TAIL})"

TEXT = rf"^[^{_BREAKS}]+$"
WORD = rf"^[^{_BREAKS}-][^{_BREAKS}]*$"
CONTENT = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
LOGIN = r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]*\$?$"
HOST = r"^([A-Za-z0-9_][A-Za-z0-9_.+-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*$"
_REGISTRY = r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
BASE = rf"^{_REGISTRY}(/[a-z0-9][a-z0-9._-]*)*(:{_TAG})?(@sha256:[0-9a-f]{{64}})?$"
REPOSITORY = rf"^({_REGISTRY}/)?{_PART}(/{_PART})*$"
VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+$"
PYTHON = r"^3\.[0-9]{1,2}$"
PLATFORM = r"^linux/[a-z0-9]+(/v[0-9])?$"
FOLDER = rf"^{_HERE}$"
MOUNT = rf"^({_HERE}|{_PART}):/{_TAIL}(:r[ow])?$"

WRONG = {
    TEXT: "is empty, or holds a control character or a line's end",
    WORD: "is empty, begins with a dash, or holds a control character or a line's end",
    CONTENT: "holds a control character other than tab and newline",
    NAME: "is not a name: lower-case letters, digits and dashes, 40 at most",
    VARIABLE: "is not the name of a variable",
    LOGIN: "is not a login name: letters, digits and _ . @ + -, with no dash in front",
    HOST: "is not a host: a name, an address or an alias of ~/.ssh/config, of letters, digits and _ . : % -",
    BASE: "is no image reference: NAME:TAG, or NAME:TAG@sha256:DIGEST to pin it",
    REPOSITORY: "is not a repository without tag and digest, such as ghcr.io/OWNER/NAME",
    VERSION: "is not a version of three numbers, such as 3.5.0",
    PYTHON: 'is not a Python of two numbers, such as "3.12"',
    PLATFORM: "is not a platform, such as linux/arm64",
    FOLDER: "is not a folder: an absolute path, or one that begins with ~/, without a colon",
    MOUNT: "is not HOST:CONTAINER or HOST:CONTAINER:ro, with HOST an absolute path, ~/... or the name of a volume",
}
"""By pattern, what is said of text that does not match."""

Text = Annotated[str, StringConstraints(pattern=TEXT)]
Word = Annotated[str, StringConstraints(pattern=WORD)]
"""Text that no command takes for an option."""
Content = Annotated[str, StringConstraints(pattern=CONTENT)]
"""Text of any number of lines."""
Name = Annotated[str, StringConstraints(pattern=NAME)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE)]
Login = Annotated[str, StringConstraints(pattern=LOGIN)]
Host = Annotated[str, StringConstraints(pattern=HOST)]
"""Narrow, since ~/.ssh/config may hand a host and a login to a shell on this machine (`Match exec`, `ProxyCommand`)."""
Base = Annotated[str, StringConstraints(pattern=BASE)]
Repository = Annotated[str, StringConstraints(pattern=REPOSITORY)]
Version = Annotated[str, StringConstraints(pattern=VERSION)]
Python = Annotated[str, StringConstraints(pattern=PYTHON)]
Platform = Annotated[str, StringConstraints(pattern=PLATFORM)]
Folder = Annotated[str, StringConstraints(pattern=FOLDER)]
Mount = Annotated[str, StringConstraints(pattern=MOUNT)]

_UNSENDABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def sendable(text: str) -> bool:
    """Whether a text can be a command's argument: Content, and no half of a surrogate pair."""
    return not _UNSENDABLE.search(text)
