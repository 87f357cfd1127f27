"""The registry of one image, asked over a stream in memory."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path
from typing import BinaryIO

import pytest

from deploy.delivery.archive import size
from deploy.delivery.depot import Depot
from deploy.delivery.serve import Lent
from deploy.errors import RegistryError
from deploy.registry.manifest import Descriptor
from tests.unit.delivery.samples import CONTENTS, fetch, parcel

IMAGE = parcel()
DIGEST = IMAGE.image.partition("@")[2]
LAYER = IMAGE.manifest.layers[2].digest


class Memory:
    """A connection whose other side has said all it says."""

    def __init__(self, said: str) -> None:
        self._said, self.answer = said.encode(), bytearray()

    def makefile(self, mode: str) -> BinaryIO:
        return io.BytesIO(self._said)

    def sendall(self, data: bytes) -> None:
        self.answer += data


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    depot = Depot(fetch, tmp_path)
    yield Lent(IMAGE, depot)
    depot.close()


def ask(lent: Lent, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
    stream = Memory(
        "\r\n".join([*lines, *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items()), "", ""])
    )
    lent.answer(stream)
    head, _, body = bytes(stream.answer).partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    return int(first.split()[1]), dict(BytesParser().parsebytes(rest).items()), body


def test_the_manifest_is_given_by_its_digest_alone(lent: Lent) -> None:
    status, headers, body = ask(lent, f"/v2/any/name/manifests/{DIGEST}")
    assert (status, body) == (200, IMAGE.manifest.raw)
    assert headers["Content-Type"] == IMAGE.manifest.media_type
    assert ask(lent, "/v2/any/name/manifests/latest")[0] == 404
    assert ask(lent, f"/v2/any/name/manifests/sha256:{64 * '0'}")[0] == 404


def test_a_head_says_what_a_get_gives(lent: Lent) -> None:
    status, headers, body = ask(lent, f"/v2/a/manifests/{DIGEST}", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(IMAGE.manifest.raw)), b"")


def test_small_texts_are_packed_for_whoever_takes_that(lent: Lent) -> None:
    _, headers, body = ask(lent, f"/v2/a/blobs/{IMAGE.manifest.config.digest}", Accept_Encoding="gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == IMAGE.config
    assert ask(lent, f"/v2/a/blobs/{IMAGE.manifest.config.digest}")[2] == IMAGE.config


def test_a_layer_comes_whole_or_from_a_byte_on_and_is_counted(lent: Lent) -> None:
    assert ask(lent, f"/v2/a/blobs/{LAYER}")[2] == CONTENTS[2]
    assert lent.sent > len(CONTENTS[2])
    status, headers, body = ask(lent, f"/v2/a/blobs/{LAYER}", Range="bytes=10-")
    assert (status, body) == (206, CONTENTS[2][10:])
    assert headers["Content-Range"] == f"bytes 10-{len(CONTENTS[2]) - 1}/{len(CONTENTS[2])}"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(lent: Lent, method: str) -> None:
    stream = Memory(f"{method} /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n\r\n")
    lent.answer(stream)
    assert stream.answer == b""


def test_what_is_not_of_this_image_is_not_there(lent: Lent) -> None:
    for path in ("/", "/etc/passwd", "/v2/a/tags/list", "/v2/a/blobs/../../x", f"/v2/a/blobs/sha256:{64 * '1'}"):
        assert ask(lent, path)[0] == 404, path
    assert ask(lent, "/v2/")[0] == 200


def test_a_layer_that_breaks_off_is_never_of_the_length_that_was_promised(tmp_path: Path) -> None:
    def broken(blob: Descriptor) -> Iterator[bytes]:
        yield CONTENTS[0][:300_000]
        raise RegistryError("gone", "")

    depot = Depot(broken, tmp_path)
    _, headers, body = ask(Lent(IMAGE, depot), f"/v2/a/blobs/{IMAGE.manifest.layers[0].digest}")
    assert 0 < len(body) < int(headers["Content-Length"])
    assert depot.troubles == ["gone"]
    depot.close()


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_the_archive_has_the_layers_that_are_missing_and_names_them_all(lent: Lent, layer: int) -> None:
    status, headers, body = ask(lent, f"/archive/{layer}")
    assert status == 200
    assert len(body) == int(headers["Content-Length"]) == size(IMAGE, layer)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        files = {one.name: (tar.extractfile(one) or io.BytesIO()).read() for one in tar}
    paths = [f"blobs/sha256/{one.digest[7:]}" for one in IMAGE.manifest.layers]
    assert {path for path in paths if path in files} == set(paths[layer:])
    assert all(files[path] == content for path, content in zip(paths, CONTENTS, strict=True) if path in files)
    (listed,) = json.loads(files["manifest.json"])
    assert listed["Layers"] == paths
    assert files[listed["Config"]] == IMAGE.config
    (manifest,) = json.loads(files["index.json"])["manifests"]
    assert files[f"blobs/sha256/{manifest['digest'][7:]}"] == IMAGE.manifest.raw
    assert list(files)[-1] == "manifest.json", "an archive that was cut has no list"


def test_an_index_is_given_beside_the_manifest_that_is_run(lent: Lent) -> None:
    index = replace(IMAGE.manifest, raw=b'{"index":1}')
    both = Lent(replace(IMAGE, manifests=(index, IMAGE.manifest)), lent.depot)
    assert [ask(both, f"/v2/a/manifests/{one.digest}")[2] for one in (index, IMAGE.manifest)] == [
        index.raw, IMAGE.manifest.raw,
    ]  # fmt: skip
