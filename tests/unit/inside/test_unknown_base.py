"""Files that no base is known to have: refused, or patched by their anchors where that is allowed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import Edit, Manifest, PatchError, State, sha256
from deploy.inside.patch import described, reported
from deploy.inside.plan import plan, status
from tests.unit.inside.test_patch import DONE, EDITS, KNOWN, MANIFEST, NEW, OLD, OTHER, PARSER, applied

STRANGE = {**OLD, PARSER: b"# another version\nimport a\n"}
STRANGE_DONE = b"# another version\nimport a\nimport new\n"
TWO_BASES = {PARSER: KNOWN[PARSER], OTHER: {"v2": KNOWN[OTHER]["v1"]}}


def states(files: dict[str, bytes], manifest: Manifest = MANIFEST) -> list[str]:
    return [one.state for one in status(files, manifest).files]


def test_an_unknown_base_is_patched_by_its_anchors_when_it_is_allowed_and_named() -> None:
    with pytest.raises(PatchError, match="known base"):
        plan(STRANGE, MANIFEST)
    todo = plan(STRANGE, MANIFEST, allow_unknown_base=True)
    assert todo.writes[PARSER] == STRANGE_DONE
    assert todo.writes[OTHER] == DONE[OTHER]
    assert described(todo) | {"was": ""} == {
        "format": 1,
        "was": "",
        "written": [PARSER, OTHER, NEW],
        "patched_already": [],
        "bases": ["v1"],
        "unknown_base": [PARSER],
        "allowed": ["unknown-base"],
    }


def test_what_was_allowed_stays_known_and_is_not_done_twice() -> None:
    files = applied(STRANGE, MANIFEST, allow_unknown_base=True)
    found = reported(status(files, MANIFEST))
    assert (found["state"], found["allowed"]) == ("patched", ["unknown-base"])
    for allowed in (False, True):
        again = plan(files, MANIFEST, allow_unknown_base=allowed)
        assert (again.writes, again.unknown) == ({}, (PARSER,))


def test_a_known_base_is_not_called_allowed_because_the_word_was_given() -> None:
    files = applied(OLD, MANIFEST, allow_unknown_base=True)
    assert json.loads(files[JOURNAL])["allowed"] == []
    assert status(files, MANIFEST).allowed == ()


@pytest.mark.parametrize("kept", range(1, 4))
def test_an_interrupted_run_on_an_unknown_base_is_completed(kept: int) -> None:
    """The journal is in place first, so that every file that was patched is known by it."""
    writes = plan(STRANGE, MANIFEST, allow_unknown_base=True).writes
    half = {**STRANGE, **dict(list(writes.items())[:kept])}
    assert status(half, MANIFEST).state in ("unknown", "half patched")
    assert applied(half, MANIFEST, allow_unknown_base=True) == {**STRANGE, **writes}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({**OLD, PARSER: b"x = 1\n"}, "it 0 times"),
        ({**OLD, PARSER: b"import a\nimport a\n"}, "it 2 times"),
        ({**OLD, OTHER: b"x = (1\n"}, "Python source"),
        ({**OLD, PARSER: b"# changed\n" + DONE[PARSER]}, "made already"),
        ({**OLD, NEW: b"else"}, "no such file"),
        ({PARSER: OLD[PARSER]}, "a file"),
    ],
)
def test_no_allowance_forces_an_anchor_a_result_or_a_new_file(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(PatchError, match=words):
        plan(files, MANIFEST, allow_unknown_base=True)


def test_files_of_two_bases_are_an_unknown_base_too() -> None:
    mixed = Manifest(EDITS, TWO_BASES, {NEW: DONE[NEW]})
    with pytest.raises(PatchError, match="files before it"):
        plan(OLD, mixed)
    files = applied(OLD, mixed, allow_unknown_base=True)
    assert {path: files[path] for path in DONE} == DONE
    assert (status(files, mixed).state, status(files, mixed).allowed) == ("patched", ("unknown-base",))
    assert plan(files, mixed).writes == {}


@pytest.mark.parametrize("allowed", [False, True])
def test_a_tree_of_an_older_release_is_called_one(allowed: bool) -> None:
    edits = {**EDITS, PARSER: (Edit("after", "import a\n", "import newer\n"),)}
    after = sha256(OLD[PARSER].replace(b"import a\n", b"import a\nimport newer\n"))
    known = {**KNOWN, PARSER: {"v1": State(KNOWN[PARSER]["v1"].before, after)}}
    newer = Manifest(edits, known, {NEW: b"y = 4\n"})
    with pytest.raises(PatchError) as caught:
        plan(applied(OLD, MANIFEST), newer, allow_unknown_base=allowed)
    assert [one.path for one in caught.value.problems] == [PARSER, NEW]
    assert str(caught.value).count("patched by another release of sglang-spark; begin with an unpatched tree") == 2


def test_a_file_that_changed_after_it_was_patched_is_called_so() -> None:
    files = applied(OLD, MANIFEST)
    with pytest.raises(PatchError, match="changed since it was patched"):
        plan({**files, PARSER: files[PARSER] + b"# mine\n"}, MANIFEST, allow_unknown_base=True)


def test_every_file_in_the_way_is_named_at_once() -> None:
    with pytest.raises(PatchError) as caught:
        plan({PARSER: b"1", OTHER: b"2", NEW: b"3"}, MANIFEST)
    assert [one.path for one in caught.value.problems] == [PARSER, OTHER, NEW]


def test_a_status_has_a_word_for_every_file() -> None:
    assert states(OLD) == ["not patched"] * 3
    assert states(DONE) == ["patched"] * 3
    assert states({PARSER: DONE[PARSER], OTHER: b"?"}) == ["patched", "unknown", "not patched"]
    found = reported(status({**DONE, OTHER: b"?"}, MANIFEST))
    assert found["state"] == "unknown"
    assert found["files"][1] == {
        "path": OTHER,
        "state": "unknown",
        "bases": [],
        "expected": f"sha256 of a known base (v1 {KNOWN[OTHER]['v1'].before})",
        "found": f"sha256 {sha256(b'?')}",
    }


@pytest.mark.parametrize(
    "journal", [b"", b"\xff", b"[]", b'{"files": 3}', b'{"files": {"a": 1}, "allowed": []}', b"{}"]
)
def test_a_journal_that_cannot_be_read_changes_nothing(journal: bytes) -> None:
    assert states({**OLD, JOURNAL: journal}) == ["not patched"] * 3
    assert applied({**OLD, JOURNAL: journal}, MANIFEST) == applied(OLD, MANIFEST)


def test_a_set_that_only_adds_files_needs_no_known_base() -> None:
    only = replace(MANIFEST, edits={}, known={})
    todo = plan({}, only)
    assert (todo.writes[NEW], todo.unknown) == (DONE[NEW], ())
