"""Flags: what this SGLang would refuse is refused before a node is touched, with line and column."""

from __future__ import annotations

import pytest

from deploy.cluster.load import Document, load, parse
from deploy.errors import ConfigError
from deploy.launch.check import DERIVED, SECRET, problems
from deploy.launch.sglang import server_argv
from deploy.launch.tables import table_for, versions
from tests.unit.launch.samples import GOLDEN

ADDED = {"tool-call-parser": ("glm47",)}
HEAD = """name: sparks
image: {repository: ghcr.io/o/n}
nodes:
"""


def document(server: str, nodes: int = 4) -> Document:
    listed = "".join(f"  - {{host: h{rank}, fabric: 10.0.0.{rank + 1}}}\n" for rank in range(nodes))
    return parse("c.yaml", HEAD + listed + "server:\n" + server if server else HEAD + listed)


def mistakes(server: str, nodes: int = 4) -> list[str]:
    one = document(server, nodes)
    try:
        one.source.refuse(problems(one.cluster, table_for("0.5.4.post2"), ADDED))
    except ConfigError as error:
        return error.message.splitlines()
    return []


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("case", sorted(path.parent.name for path in GOLDEN.glob("*/cluster.yaml")))
def test_the_golden_clusters_are_taken_by_every_known_version(case: str, version: str) -> None:
    cluster = load(GOLDEN / case / "cluster.yaml").cluster
    assert list(problems(cluster, table_for(version), ADDED)) == []


@pytest.mark.parametrize("nodes", [1, 2, 4, 8])
def test_the_defaults_are_taken_on_any_number_of_nodes(nodes: int) -> None:
    assert mistakes("", nodes) == []
    argv = server_argv(document("", nodes).cluster, 0)
    assert argv[argv.index("--tp") + 1] == str(nodes)


def test_the_parser_is_legal_because_the_patches_bring_it() -> None:
    (problem,) = problems(document("").cluster, table_for("0.5.4.post2"), {})
    assert problem.path == ("server", "tool-call-parser")
    assert problem.what.startswith("'glm47' is not one of ")
    assert "did you mean glm45?" in problem.what


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ("  tool-call-parsr: glm47\n", "c.yaml:9:3: server.tool-call-parsr: SGLang 0.5.4.post2 has no flag"
         " --tool-call-parsr; did you mean tool-call-parser?"),
        ("  context_length: 5\n", "c.yaml:9:3: server.context_length: SGLang 0.5.4.post2 has no flag --context_length;"
         " did you mean context-length?"),
        ("  context-length: many\n", "c.yaml:9:3: server.context-length: takes a whole number (found 'many')"),
        ("  context-length: true\n", "c.yaml:9:3: server.context-length: needs a value"),
        ("  context-length: [1, 2]\n", "c.yaml:9:3: server.context-length: takes one value, not a list"),
        ("  trust-remote-code: 7\n", "c.yaml:9:3: server.trust-remote-code: takes true or false (found 7)"),
        ("  tensor-parallel-size: 4\n", "c.yaml:9:3: server.tensor-parallel-size: is called tp here, which has a"
         " default"),
        ("  tp: 6\n", "c.yaml:9:3: server.tp: 6 x pipeline 1 ranks cannot be spread evenly over 4 nodes"),
        ("  tp: 2\n", "c.yaml:9:3: server.tp: 2 x pipeline 1 ranks cannot be spread evenly over 4 nodes"),
        ("  speculative-num-draft-tokens: 12\n", "c.yaml:9:3: server.speculative-num-draft-tokens: 12 is more than the"
         " 11 of a tree of 3 steps and top-k 2"),
        ("  speculative-num-steps: null\n", "c.yaml:8:1: server.speculative-num-draft-tokens: the three are given"
         " together or not at all; missing: speculative-num-steps"),
    ],
)  # fmt: skip
def test_each_wrong_flag_is_told_with_its_place(server: str, line: str) -> None:
    assert mistakes(server) == [line]


def test_a_wrong_choice_lists_the_right_ones() -> None:
    (line,) = mistakes("  reasoning-parser: glm46\n")
    assert "'glm46' is not one of" in line
    assert line.endswith("did you mean glm45?")


@pytest.mark.parametrize("name", sorted(DERIVED))
def test_what_the_file_says_elsewhere_is_not_given_by_hand(name: str) -> None:
    (line,) = mistakes(f"  {name}: 4\n")
    assert f"server.{name}: must not be given: it is " in line


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_secret_is_not_a_flag(name: str) -> None:
    (line,) = mistakes(f"  {name}: hush\n")
    assert "is a secret" in line
    assert "hush" not in line


def test_pipeline_ranks_count_too() -> None:
    assert mistakes("  tp: 2\n  pipeline-parallel-size: 2\n") == []


def test_turning_eagle_off_drops_its_settings() -> None:
    cluster = document("  speculative-algorithm: null\n").cluster
    assert not [word for word in server_argv(cluster, 0) if word.startswith("--speculative")]


def test_top_k_one_wants_a_chain() -> None:
    (line,) = mistakes("  speculative-eagle-topk: 1\n  speculative-num-draft-tokens: 3\n")
    assert "top-k 1 drafts a chain: SGLang makes it 4" in line


def test_the_draft_tree_is_taken_up_to_its_limit() -> None:
    assert mistakes("  speculative-num-draft-tokens: 11\n") == []


def test_a_flag_of_a_set_that_the_image_lacks_says_how_to_get_it() -> None:
    one = document("  enable-adaptive-moe: true\n")
    (problem,) = problems(one.cluster, table_for("0.5.4.post2"), ADDED, {"enable-adaptive-moe": "adaptive-moe"})
    assert "image.patches: [adaptive-moe]" in problem.what


def test_a_flag_of_a_set_is_taken_where_the_image_has_it() -> None:
    one = document("  enable-adaptive-moe: true\n")
    fields = {
        "name": "enable-adaptive-moe",
        "spellings": ["--enable-adaptive-moe"],
        "dest": "x",
        "action": "store_true",
    }
    table = table_for("0.5.4.post2").extended([fields])
    assert list(problems(one.cluster, table, ADDED)) == []
    assert [flag.name for flag in table.flags] == sorted(flag.name for flag in table.flags)
