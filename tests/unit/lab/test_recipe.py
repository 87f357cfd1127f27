from __future__ import annotations

import ast
import re

from deploy.lab import images, recipe
from deploy.lab.recipe import Release

BOOKWORM = Release("debian", "bookworm", "amd64")


def test_the_release_is_read_with_and_without_quotes() -> None:
    text = 'PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu\nVERSION_CODENAME=noble\n# a remark\n'
    assert recipe.read_release(text, "arm64") == Release("ubuntu", "noble", "arm64")
    assert recipe.read_release('ID="debian"\nVERSION_CODENAME="trixie"', "amd64").codename == "trixie"
    assert recipe.read_release("ID=arch\n", "amd64").codename == ""


def test_the_archive_is_the_one_this_machine_uses_for_its_own_release() -> None:
    targets = "noble main http://other/ubuntu/\nbookworm contrib http://wrong/\nbookworm main http://near/debian/\n"
    assert recipe.mirror(targets, BOOKWORM) == "http://near/debian"


def test_without_one_debootstrap_takes_the_release_s_own() -> None:
    assert recipe.mirror("bookworm main copy:/cdrom\n", BOOKWORM) == ""
    assert recipe.debootstrap(BOOKWORM, "/t", "")[-2:] == ("bookworm", "/t")


def test_ubuntu_keeps_docker_in_universe() -> None:
    argv = recipe.debootstrap(Release("ubuntu", "noble", "arm64"), "/t", "http://a")
    assert "--components=main,universe" in argv
    assert argv[-3:] == ("noble", "/t", "http://a")


def test_a_tag_changes_with_every_part_and_with_where_one_part_ends() -> None:
    tags = {recipe.tag("x", parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", b"d"])}
    assert len(tags) == 4
    assert recipe.tag("x", ["ab", "c"]) == recipe.tag("x", [b"ab", b"c"])
    assert all(re.fullmatch(r"sglang-spark-lab/x:[0-9a-f]{16}", tag) for tag in tags)


def test_contents_do_not_depend_on_the_order_of_files() -> None:
    assert recipe.contents({"b": b"1", "a": b"2"}) == recipe.contents({"a": b"2", "b": b"1"}) == ["a", b"2", "b", b"1"]


def test_wheels_are_held_to_their_hashes_and_chosen_for_the_node_s_python() -> None:
    argv = recipe.wheels("3.12", Release("ubuntu", "noble", "arm64"), "/site", "/lock")
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(argv)
    assert argv[argv.index("--python-version") + 1] == "3.12"
    assert "manylinux_2_17_aarch64" in argv


def test_every_line_of_the_lock_is_pinned_and_hashed() -> None:
    entries = images.LOCK.read_text().replace("\\\n", " ").splitlines()
    assert any(entry.startswith("sglang==0.5.4.post2 ") for entry in entries)
    assert any(entry.startswith("openai==2.6.1 ") for entry in entries)
    for entry in entries:
        assert re.match(r"[a-z0-9_.-]+==\S+ +--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_images_name_themselves_stand_ins() -> None:
    assert f'{recipe.STAND_IN}="a DGX Spark"' in recipe.node_dockerfile("rootfs", "")
    assert "without a GPU engine" in recipe.base_dockerfile("tree")


def test_the_stand_in_takes_along_all_that_it_imports_of_this_package() -> None:
    files = {name: content for name, content in images.stand_in_files().items() if name.endswith(".py")}
    needed = set()
    for content in files.values():
        for node in ast.walk(ast.parse(content, feature_version=(3, 10))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deploy"):
                needed.add(f"{node.module}".replace(".", "/") + ".py")
    assert "deploy/kernels/name.py" in needed
    assert needed <= set(files)


def test_the_base_looks_like_the_real_one_from_outside() -> None:
    text = recipe.base_dockerfile("tree")
    assert "ENTRYPOINT" not in text
    assert text.endswith('CMD ["bash"]\n')


def test_the_client_is_installed_where_a_release_ships_it_apart() -> None:
    assert " docker-cli " in recipe.node_dockerfile("rootfs", "docker-cli")
    assert "docker-cli" not in recipe.node_dockerfile("rootfs", "")
