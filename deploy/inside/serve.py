"""Starts a module as `python3 -m` does, with an API key that no argument, log or copy of its arguments shows.

SGLang takes the key by `--api-key` alone, and a command line can be read by everybody on the node. So the key is read
from a file and put among the arguments once they are parsed. A file run as it is: what runs inside the image must not
be imported as `deploy` where the module has a package of that name.

    python3 serve.py SECRETS MODULE [ARGUMENT ...]
"""

from __future__ import annotations

import argparse
import os
import runpy
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEY = "SGLANG_SPARK_API_KEY"
"""The line of the secrets file that holds the key; it is not exported."""
# Whoever gets a copy gets something that opens nothing, and that nobody can guess.
_COPY = "hidden-" + secrets.token_hex(16)


class Key(str):
    """A text that says what it is where it is used, and hides where it is shown, copied or sent to a process."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'hidden'"

    def __reduce_ex__(self, protocol: Any) -> tuple[type[str], tuple[str]]:
        return str, (_COPY,)


def key_in(text: str) -> Key:
    """The key in a secrets file's text, lines of NAME='VALUE' as a shell reads them; ends the program without one."""
    for word in shlex.split(text):
        name, _, value = word.partition("=")
        if name == KEY and value:
            return Key(value)
    sys.exit(f"no line {KEY}= in the secrets file")


def lend(key: Key) -> None:
    """Give the key to every parser that knows --api-key, whatever its command line says."""
    parse = argparse.ArgumentParser.parse_known_args

    def with_key(self: argparse.ArgumentParser, *args: Any, **words: Any) -> tuple[Any, list[str]]:
        found, rest = parse(self, *args, **words)
        if hasattr(found, "api_key"):
            found.api_key = key
        return found, rest

    argparse.ArgumentParser.parse_known_args = with_key  # type: ignore[method-assign]


def main(argv: Sequence[str]) -> None:
    """Become the module; returns when it does."""
    path, module, *rest = argv
    lend(key_in(Path(path).read_text(encoding="utf-8")))
    # As `python3 -m` has it.
    sys.path[:1] = [os.getcwd()] if sys.path[0] == str(Path(__file__).parent) else sys.path[:1]
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
