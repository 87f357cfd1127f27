"""The launch line as the stand-in understands it, by the flags of a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.lab.standin.arguments import Launch, launch, refused, tree_version

FLAGS = {
    "model-path": "type=str, required=True",
    "node-rank": "type=int, default=0",
    "nnodes": "type=int, default=1",
    "tensor-parallel-size": "type=int, default=1",
    "pipeline-parallel-size": "type=int, default=1",
    "dist-init-addr": "type=str",
    "dist-timeout": "type=int",
    "served-model-name": "type=str",
    "config": "type=str",
    "speculative-algorithm": "choices=['EAGLE']",
    "speculative-num-steps": "type=int",
    "speculative-eagle-topk": "type=int",
    "speculative-num-draft-tokens": "type=int",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with as many flags as the stand-in looks at."""
    lines = [f"    parser.add_argument('--{name}', {words})" for name, words in FLAGS.items()]
    (tmp_path / "srt").mkdir()
    (tmp_path / "srt" / "server_args.py").write_text("\n".join(["def add(parser):", *lines]))
    (tmp_path / "version.py").write_text('__version__ = "0.5.4.post2"\n')
    return tmp_path


def told(tree: Path, *words: str) -> Launch:
    return launch(["--model-path", "m", *words], tree)


def test_the_version_is_the_trees(tree: Path) -> None:
    assert tree_version(tree) == "0.5.4.post2"


def test_a_rank_knows_its_place(tree: Path) -> None:
    four = told(tree, "--tensor", "8", "--nnodes", "4", "--node-rank", "2", "--dist-init-addr", "10.0.0.1:50000")
    assert (four.rank, four.nodes, four.tp_rank) == (2, 4, 4)
    assert four.rendezvous == ("10.0.0.1", 50000)
    assert refused(four) is None
    assert told(tree).tp_rank is None


def test_an_address_may_be_ipv6(tree: Path) -> None:
    assert told(tree, "--dist-init-addr", "[fd00::1]:50000").rendezvous == ("fd00::1", 50000)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tensor", "3", "--nnodes", "2", "--dist-init-addr", "a:1"), "divisible"),
        (("--nnodes", "2", "--tensor", "2", "--node-rank", "2", "--dist-init-addr", "a:1"), "not below nnodes"),
        (("--nnodes", "2", "--tensor", "2"), "--dist-init-addr"),
        (("--speculative-algorithm", "EAGLE", "--speculative-eagle-topk", "2"), "num_steps"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(tree: Path, words: tuple[str, ...], why: str) -> None:
    assert why in str(refused(told(tree, *words)))


def test_a_config_file_is_not_silently_left_out(tree: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        told(tree, "--config", "a.yaml")
