"""Layers together are what Docker would make of them, as far as they were read."""

from __future__ import annotations

import pytest

from deploy.image.base.sight import File, Sight, Wanted, enough, hinted, merged

WANTED = Wanted("tree", ("sglang/a.py", "sglang/b.py"), ("sglang/new.py",), ("opt",), nccl=True)
A, B, INFO = "tree/sglang/a.py", "tree/sglang/b.py", "usr/lib/python3.12/site/nvidia_nccl_cu13-2.dist-info"


def files(*paths: str, layer: str = "below") -> dict[str, File]:
    return {path: File(layer.encode(), 0o644, layer) for path in paths}


def below() -> Sight:
    return Sight(files(A, B), compiled={"tree/sglang/__pycache__/a.pyc"}, folders={"opt"}, nccl={INFO}, whole=True)


def test_a_layer_above_wins() -> None:
    base, _ = merged({0: below(), 1: Sight(files(A, layer="above"), whole=True)}, WANTED, 2)
    assert (base.files["sglang/a.py"].layer, base.files["sglang/b.py"].layer) == ("above", "below")
    assert (base.python, base.nccl, base.folders, base.unread) == ("3.12", (INFO,), ("opt",), 0)
    assert enough(base, WANTED)


@pytest.mark.parametrize(
    "above",
    [Sight(hidden={A}), Sight(hidden={"tree/sglang"}), Sight(emptied={"tree/sglang"}), Sight(emptied={"tree"})],
)
def test_what_a_layer_above_takes_away_is_gone(above: Sight) -> None:
    base, _ = merged({0: below(), 1: above}, WANTED, 2)
    assert "sglang/a.py" not in base.files
    assert not enough(base, WANTED)


def test_a_folder_that_is_emptied_has_what_the_same_layer_puts_there() -> None:
    above = Sight(files(A, layer="above"), emptied={"tree/sglang"})
    base, _ = merged({0: below(), 1: above}, WANTED, 2)
    assert set(base.files) == {"sglang/a.py"}
    assert base.compiled == ()


def test_a_folder_of_a_like_name_is_not_meant() -> None:
    base, _ = merged({0: below(), 1: Sight(hidden={"tree/sglang/a", "tr"}, emptied={"tree/sg"})}, WANTED, 2)
    assert set(base.files) == {"sglang/a.py", "sglang/b.py"}


def test_a_package_that_was_replaced_further_up_is_the_newer_one_alone() -> None:
    newer = INFO.replace("-2.", "-3.")
    base, _ = merged({0: below(), 1: Sight(nccl={newer}, hidden={INFO})}, WANTED, 2)
    assert base.nccl == (newer,)


def test_a_link_in_the_place_of_a_file_is_told_unless_a_file_is_over_it() -> None:
    link = Sight(odd={A: "a link to x"}, whole=True)
    assert merged({0: below(), 1: link}, WANTED, 2)[1] == {A: "a link to x"}
    assert "sglang/a.py" not in merged({0: below(), 1: link}, WANTED, 2)[0].files
    assert merged({0: link, 1: below()}, WANTED, 2)[1] == {}


def test_layers_that_were_not_read_whole_are_counted() -> None:
    assert merged({2: Sight(files(A, B))}, WANTED, 5)[0].unread == 5
    assert merged({2: below()}, WANTED, 5)[0].unread == 4


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("COPY . /sgl-workspace/sglang # buildkit", True),
        ("/bin/sh -c #(nop) COPY dir:12 in /sgl-workspace/sglang ", True),
        ("ADD file:1 in /sgl-workspace", True),
        ("COPY . /sgl-workspace-other", False),
        ("RUN cp -r x /sgl-workspace/sglang", False),
    ],
)
def test_the_history_tells_where_sglang_was_copied(line: str, found: bool) -> None:
    history = [{"created_by": "RUN apt"}, {"created_by": "ENV x", "empty_layer": True}, {"created_by": line}]
    assert hinted(history, "sgl-workspace/sglang/python", 2) == ((1,) if found else ())


def test_a_history_that_does_not_fit_the_layers_tells_nothing() -> None:
    assert hinted([{"created_by": "COPY . /sgl-workspace"}], "sgl-workspace/x", 2) == ()
    assert hinted([], "sgl-workspace/x", 2) == ()
