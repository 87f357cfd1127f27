"""Patching: all or nothing, by anchors and checksums."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.inside.journal import JOURNAL
from deploy.inside.manifest import Edit, Manifest, PatchError, State, load, produce, sha256
from deploy.inside.patch import main
from deploy.inside.plan import Plan, plan

PARSER, OTHER, NEW = "sglang/parser.py", "sglang/other.py", "sglang/new.py"
OLD = {PARSER: b"import a\nTABLE = {1: a}\n", OTHER: b"x = 1\n"}
EDITS = {PARSER: (Edit("after", "import a\n", "import new\n"),), OTHER: (Edit("replace", "1", "2"),)}
DONE = {PARSER: b"import a\nimport new\nTABLE = {1: a}\n", OTHER: b"x = 2\n", NEW: b"y = 3\n"}
KNOWN = {path: {"v1": State(sha256(OLD[path]), sha256(DONE[path]))} for path in OLD}
MANIFEST = Manifest(EDITS, KNOWN, {NEW: DONE[NEW]})


def new(todo: Plan) -> dict[str, bytes]:
    """What is written beside the journal, which comes first."""
    assert not todo.writes or next(iter(todo.writes)) == JOURNAL
    return {path: content for path, content in todo.writes.items() if path != JOURNAL}


def applied(files: dict[str, bytes], manifest: Manifest, **options: bool) -> dict[str, bytes]:
    return {**files, **plan(files, manifest, **options).writes}


def test_an_untouched_tree_is_patched_whole() -> None:
    todo = plan(OLD, MANIFEST)
    assert (new(todo), todo.done, todo.bases, todo.state) == (DONE, (), {"v1"}, "not patched")


def test_a_patched_tree_needs_nothing() -> None:
    todo = plan(DONE, MANIFEST)
    assert (todo.writes, set(todo.done)) == ({}, set(DONE))


def test_a_half_patched_tree_is_completed() -> None:
    todo = plan({**OLD, PARSER: DONE[PARSER]}, MANIFEST)
    assert new(todo) == {OTHER: DONE[OTHER], NEW: DONE[NEW]}
    assert (todo.done, todo.state) == ((PARSER,), "half patched")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({**OLD, OTHER: b"x = 1 \n"}, [OTHER, KNOWN[OTHER]["v1"].before, sha256(b"x = 1 \n")]),
        ({PARSER: OLD[PARSER]}, [OTHER, "a file", "none"]),
        ({**OLD, NEW: b"else"}, [NEW, "no such file", sha256(b"else")]),
    ],
)
def test_what_is_not_known_is_refused_with_what_was_expected_and_found(
    files: dict[str, bytes], words: list[str]
) -> None:
    with pytest.raises(PatchError) as caught:
        plan(files, MANIFEST)
    assert all(word in str(caught.value) for word in words)


def test_files_of_two_bases_in_one_tree_are_refused() -> None:
    known = {PARSER: KNOWN[PARSER], OTHER: {"v2": KNOWN[OTHER]["v1"]}}
    with pytest.raises(PatchError, match="v1"):
        plan(OLD, Manifest(EDITS, known, {}))


def test_a_known_file_that_patches_into_something_else_is_refused() -> None:
    known = {**KNOWN, OTHER: {"v1": State(sha256(OLD[OTHER]), "0" * 64)}}
    with pytest.raises(PatchError, match="0000"):
        plan(OLD, Manifest(EDITS, known, {}))


@pytest.mark.parametrize(("content", "times"), [(b"no\n", "0"), (b"import a\nimport a\n", "2")])
def test_an_anchor_stands_exactly_once(content: bytes, times: str) -> None:
    with pytest.raises(PatchError, match=f"it {times} times"):
        produce(PARSER, content, EDITS[PARSER])


@pytest.mark.parametrize(
    ("where", "result"), [("before", b"bb = 1\n"), ("after", b"bb = 1\n"), ("replace", b"b = 1\n")]
)
def test_text_goes_before_or_after_its_anchor_or_in_its_place(where: str, result: bytes) -> None:
    assert produce("a.py", b"b = 1\n", (Edit(where, "b", "b"),)) == result


def test_what_is_no_python_is_not_written() -> None:
    with pytest.raises(PatchError, match="Python source"):
        produce("a.py", b"b = 1\n", (Edit("after", "= 1", " ("),))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path, content in OLD.items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_bytes(content)
    return tmp_path / "tree"


@pytest.fixture
def patches(tmp_path: Path, tree: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "new.py").write_bytes(DONE[NEW])
    one = {
        "edits": {path: [vars(edit) for edit in edits] for path, edits in EDITS.items()},
        "files": {NEW: {"source": "new.py", "sha256": ""}},
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "sets": {"one": one}, "known": {}}))
    assert main(["record", f"v1={tree}", "--manifest", str(folder)]) == 0
    return folder


def test_the_command_patches_once_and_then_says_so(
    tree: Path, patches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / PARSER).chmod(0o600)
    assert main(["status", str(tree), "--manifest", str(patches)]) == 1
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 0
    assert {path: (tree / path).read_bytes() for path in DONE} == DONE
    assert (tree / PARSER).stat().st_mode & 0o777 == 0o600
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 0
    assert main(["status", str(tree), "--manifest", str(patches)]) == 0
    assert "nothing to do: the tree is patched" in capsys.readouterr().out
    assert {path.name for path in (tree / "sglang").iterdir()} == {
        *("parser.py", "other.py", "new.py"),
        Path(JOURNAL).name,
    }


def test_the_command_says_when_it_completes_a_half_patched_tree(
    tree: Path, patches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["apply", str(tree), "--manifest", str(patches)])
    (tree / NEW).unlink()
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 0
    assert "half patched: 2 of 3 files" in capsys.readouterr().out
    assert (tree / NEW).read_bytes() == DONE[NEW]


def test_a_refusal_changes_nothing_and_ends_with_1(
    tree: Path, patches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / OTHER).write_bytes(b"x = 5\n")
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 1
    assert "refused, nothing was changed: sglang/other.py" in capsys.readouterr().err
    assert (tree / PARSER).read_bytes() == OLD[PARSER]
    assert not (tree / NEW).exists()


def test_a_new_file_that_is_not_the_recorded_one_is_refused(patches: Path) -> None:
    (patches / "new.py").write_text("y = 4\n")
    with pytest.raises(PatchError, match=r"new\.py"):
        load(patches)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.py"])
def test_a_manifest_cannot_lead_out_of_the_tree(patches: Path, path: str) -> None:
    raw = json.loads((patches / "manifest.json").read_text())
    raw["sets"]["one"]["edits"] = {path: []}
    (patches / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(PatchError, match="inside the tree"):
        load(patches)


def test_the_committed_manifest_agrees_with_the_files_beside_it(root: Path) -> None:
    manifest = load(root / "patches")
    assert set(manifest.known) == set(manifest.edits)
    assert all({"0.5.4.post2", "0.5.4.post3"} <= set(states) for states in manifest.known.values())
    assert "sglang/srt/function_call/glm47_moe_detector.py" in manifest.added


def test_another_models_set_is_a_folder_and_an_entry(tree: Path, patches: Path) -> None:
    """Both sets edit one file; the second has an anchor in what the first wrote."""
    raw = json.loads((patches / "manifest.json").read_text())
    (patches / "two" / "files").mkdir(parents=True)
    (patches / "two" / "files" / "detector.py").write_text("z = 1\n")
    raw["sets"]["two"] = {
        "edits": {PARSER: [{"where": "after", "anchor": "import new\n", "text": "import two\n"}]},
        "files": {"sglang/detector.py": {"source": "two/files/detector.py", "sha256": ""}},
    }
    (patches / "manifest.json").write_text(json.dumps(raw))
    assert main(["record", f"v1={tree}", "--manifest", str(patches)]) == 0
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 0
    assert (tree / PARSER).read_bytes() == b"import a\nimport new\nimport two\nTABLE = {1: a}\n"
    assert (tree / "sglang" / "detector.py").read_text() == "z = 1\n"
    assert main(["status", str(tree), "--manifest", str(patches)]) == 0


def test_two_sets_cannot_bring_the_same_file(patches: Path) -> None:
    raw = json.loads((patches / "manifest.json").read_text())
    raw["sets"]["two"] = {"files": raw["sets"]["one"]["files"]}
    (patches / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(PatchError, match="one set that adds it"):
        load(patches)


def optional(tree: Path, patches: Path, edited: str) -> None:
    """A further set that is optional and edits a file."""
    raw = json.loads((patches / "manifest.json").read_text())
    (patches / "two" / "files").mkdir(parents=True)
    (patches / "two" / "files" / "more.py").write_text("z = 1\n")
    edit = {"where": "after", "anchor": "w = 1\n", "text": "w = 2\n"}
    (tree / "sglang" / "third.py").write_text("w = 1\n")
    raw["sets"]["two"] = {
        "optional": True,
        "edits": {edited: [edit]},
        "files": {"sglang/folder/more.py": {"source": "two/files/more.py", "sha256": ""}},
    }
    (patches / "manifest.json").write_text(json.dumps(raw))


def test_an_optional_set_is_in_a_tree_that_asks_for_it_alone(tree: Path, patches: Path) -> None:
    optional(tree, patches, "sglang/third.py")
    assert main(["record", f"v1={tree}", "--manifest", str(patches)]) == 0
    assert main(["apply", str(tree), "--manifest", str(patches)]) == 0
    assert (tree / "sglang/third.py").read_text() == "w = 1\n"
    assert main(["status", str(tree), "--manifest", str(patches), "--with", "two"]) == 1
    assert main(["apply", str(tree), "--manifest", str(patches), "--with", "two"]) == 0
    assert (tree / "sglang/folder/more.py").read_text() == "z = 1\n"
    assert main(["status", str(tree), "--manifest", str(patches), "--with", "two"]) == 0
    assert main(["status", str(tree), "--manifest", str(patches)]) == 0


def test_a_set_that_is_not_there_or_not_optional_cannot_be_chosen(tree: Path, patches: Path) -> None:
    for name in ("one", "three"):
        with pytest.raises(PatchError, match="an optional set"):
            load(patches, (name,))


def test_an_optional_set_shares_no_file_with_another(tree: Path, patches: Path) -> None:
    optional(tree, patches, PARSER)
    assert main(["record", f"v1={tree}", "--manifest", str(patches)]) == 1


def test_a_folder_that_a_failed_run_made_is_gone(tree: Path, patches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optional(tree, patches, "sglang/third.py")
    assert main(["record", f"v1={tree}", "--manifest", str(patches)]) == 0

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deploy.inside.tree.os.replace", full)
    assert main(["apply", str(tree), "--manifest", str(patches), "--with", "two"]) == 1
    assert not (tree / "sglang/folder").exists()
