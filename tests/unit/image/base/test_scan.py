"""One layer, read as it comes."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest

from deploy.errors import BuildError
from deploy.image.base.scan import scan
from deploy.image.base.sight import Sight, Wanted
from deploy.image.layer import emptied, file, folder, hidden, write
from tests.operation import run

WANTED = Wanted("tree", ("sglang/a.py",), ("sglang/new.py",), ("tree/sglang/configs", "opt"), nccl=True)
GZIPPED = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(*entries: object) -> bytes:
    buffer = io.BytesIO()
    write(entries, buffer)  # type: ignore[arg-type]
    return buffer.getvalue()


def seen(content: bytes, media_type: str = GZIPPED, stop: Callable[[Sight], bool] = lambda _: False) -> Sight:
    return run(scan(io.BytesIO(content), media_type, "sha256:x", WANTED, stop))[1]  # type: ignore[arg-type]


def test_what_is_wanted_is_found_and_nothing_else_kept() -> None:
    found = seen(
        layer(
            *(
                file("tree/sglang/a.py", b"content", 0o755),
                file("tree/sglang/other.py", b""),
                folder("opt"),
                folder("tmp"),
            ),
            *(
                file("tree/sglang/__pycache__/a.cpython-312.pyc", b""),
                file("tree/sglang/__pycache__/z.cpython-312.pyc", b""),
            ),
            *(file("tree/sglang/configs/x.json", b""), hidden("gone/file"), *emptied("gone/folder")),
            file("usr/local/lib/python3.12/dist-packages/nvidia_nccl_cu13-2.28.3.dist-info/RECORD", b""),
            file("usr/local/lib/python3.12/dist-packages/nvidia_nccl_cu12-2.27.dist-info/RECORD", b""),
        )
    )
    assert {path: (one.content, one.mode, one.layer) for path, one in found.files.items()} == {
        "tree/sglang/a.py": (b"content", 0o755, "sha256:x")
    }
    assert found.compiled == {"tree/sglang/__pycache__/a.cpython-312.pyc"}
    assert found.folders == {"opt", "tree/sglang/configs"}
    assert found.nccl == {"usr/local/lib/python3.12/dist-packages/nvidia_nccl_cu13-2.28.3.dist-info"}
    assert (found.hidden, found.emptied, found.whole) == ({"gone/file"}, {"gone/folder"}, True)


def test_it_is_left_as_soon_as_that_is_enough() -> None:
    content = layer(file("tree/sglang/a.py", b"x"), file("z", bytes(range(256)) * 40_000))
    found = seen(content, stop=lambda now: bool(now.files))
    assert (set(found.files), found.whole) == ({"tree/sglang/a.py"}, False)


def test_names_with_a_dot_in_front_and_links_are_known() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, to in (("./tree/sglang/a.py", "b.py"), ("./usr/bin/python3", "python3.12")):
            one = tarfile.TarInfo(name)
            one.type, one.linkname = tarfile.SYMTYPE, to
            tar.addfile(one)
    found = seen(buffer.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    assert found.odd == {"tree/sglang/a.py": "a link to b.py"}
    assert found.pythons == {"python3.12"}


def test_a_layer_of_several_gzip_members_is_one() -> None:
    plain = gzip.decompress(layer(file("tree/sglang/a.py", b"x" * 1000), file("z", b"z")))
    found = seen(gzip.compress(plain[:700]) + gzip.compress(plain[700:]))
    assert found.files["tree/sglang/a.py"].content == b"x" * 1000


def test_another_way_of_packing_and_a_broken_layer_are_said() -> None:
    with pytest.raises(BuildError, match=r"tar\+zstd, which is not read here"):
        seen(b"", "application/vnd.oci.image.layer.v1.tar+zstd")
    with pytest.raises(BuildError, match="layer sha256:x of the base cannot be read"):
        seen(layer(file("a", bytes(range(256)) * 4000))[:2000])
