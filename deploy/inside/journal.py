"""What a patched tree says of itself: each file's checksum before and after. Pure; the files themselves decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.inside.manifest import Manifest, digest, sha256

JOURNAL = "sglang/sglang-spark-patched.json"
"""Written into the tree before any other file, so that an interruption leaves no patched file without its entry."""
UNKNOWN_BASE = "unknown-base"
"""The name of the allowance to patch files whose checksums are not known."""


@dataclass(frozen=True)
class Entry:
    """One file: sha256 before (None where it is new) and after, and the digest of the edits made."""

    before: str | None
    after: str
    edits: str | None

    def said(self, found: str) -> str:
        """What to add where the file is unknown; nothing where it is what it was before it was patched."""
        if found == self.before:
            return ""
        if found == self.after:
            return ": patched by another release of sglang-spark; begin with an unpatched tree"
        return f": changed since it was patched (sha256 {self.after}); begin with an unpatched tree without {JOURNAL}"


@dataclass(frozen=True)
class Journal:
    """All entries by path, and whether an unknown base was allowed."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    allowed: bool = False

    def continued(
        self, files: Mapping[str, bytes], manifest: Manifest, writes: Mapping[str, bytes], *, allowed: bool
    ) -> bytes:
        """The journal of the tree as it will be; files that are not written now keep their entries."""
        entries = dict(self.entries)
        for path, content in writes.items():
            before = sha256(files[path]) if path in files else None
            edits = digest(manifest.edits[path]) if path in manifest.edits else None
            entries[path] = Entry(before, sha256(content), edits)
        raw = {
            "format": 1,
            "allowed": [UNKNOWN_BASE] if allowed else [],
            "files": {path: vars(entry) for path, entry in entries.items()},
        }
        return (json.dumps(raw, indent=2, sort_keys=True) + "\n").encode()


def journal_of(files: Mapping[str, bytes]) -> Journal:
    """The journal of a tree; an empty one where it has none that can be read."""
    try:
        raw: Any = json.loads(files.get(JOURNAL, b"{}"))
        entries = {path: Entry(**entry) for path, entry in raw["files"].items()}
        return Journal(entries, UNKNOWN_BASE in raw["allowed"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return Journal()
