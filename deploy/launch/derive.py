"""Writes the flag tables of SGLang versions from their wheels on PyPI, or checks those kept; knows no cluster.

python -m deploy.launch.derive 0.5.4.post2 0.5.4.post3 [--check]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

from deploy import store
from deploy.errors import BuildError, ConfigError, DeployError
from deploy.launch.flags import FlagTable, UnreadableSourceError, derive

TABLES = Path(__file__).parent / "tables"


def from_wheel(version: str, wheel: Path) -> FlagTable:
    """The table of the tree inside a wheel, with the wheel's hash."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            table = derive(version, lambda path: archive.read(f"sglang/{path}").decode())
        except (UnreadableSourceError, KeyError) as error:
            raise BuildError(f"{wheel.name}: {error}", "this version defines its flags in another way") from error
    return replace(table, wheel=hashlib.sha256(wheel.read_bytes()).hexdigest())


def check(table: FlagTable, folder: Path = TABLES) -> None:
    """ConfigError where the table kept for this version is missing or another."""
    kept = folder / f"{table.version}.json"
    if not kept.exists() or kept.read_text() != table.to_json():
        raise ConfigError(f"{kept} is not what the wheel says", f"python -m deploy.launch.derive {table.version}")


def run(version: str, only_check: bool) -> str:
    """Derive one version's table, write or check it, and say what was done."""
    table = from_wheel(version, store.wheel("sglang", version))
    if only_check:
        check(table)
    else:
        (TABLES / f"{version}.json").write_text(table.to_json())
    return f"{version}: {len(table.flags)} flags, {'unchanged' if only_check else 'written'}"


def main() -> int:
    """Exit code 0, or that of the first error."""
    arguments = argparse.ArgumentParser(prog="python -m deploy.launch.derive")
    arguments.add_argument("versions", nargs="+")
    arguments.add_argument("--check", action="store_true", help="compare with the tables kept, write nothing")
    given = arguments.parse_args()
    try:
        for version in given.versions:
            print(run(version, given.check))
    except DeployError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
