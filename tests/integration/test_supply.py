"""Signatures, SBOM and provenance in a real registry; openssl verifies, and whatever is tampered with is found."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.errors import BuildError, ConfigError
from deploy.image import append
from deploy.image.dockerfile import TREE
from deploy.image.layer import file, write
from deploy.registry.manifest import LAYERS, OCI, Addition, Descriptor, Layer, appended
from deploy.registry.name import parse
from deploy.registry.repository import Repository, of_bytes
from deploy.supply import signature, store
from deploy.supply.key import public
from deploy.supply.process import Identity
from deploy.supply.statement import PAYLOAD_TYPE, PROVENANCE, SPDX, opened, signed_bytes
from deploy.workflow.attest import Seal, attest, sealed, sign
from tests.integration.supply_parts import CLI, VERSION, World, pushed
from tests.operation import run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pushed(tmp_path_factory.mktemp("supply")) as one:
        yield one


def test_a_signed_image_passes_every_check_but_those_that_nobody_could_make(world: World) -> None:
    found = world.verified()
    assert [name for name, (outcome, _) in found.items() if outcome == "passed"] == [
        *("digest", "base", "layers.base", "layers.own", "recipe", "files", "signature", "sbom", "provenance"),
    ]
    assert found["self-test"] == ("not_checked", "it was not run, and no node was asked")
    assert world.verified(key=None)["signature"][0] == "not_checked"
    assert world.verified(cluster=None)["recipe"][0] == "not_checked"


def test_openssl_verifies_the_signature_that_cosign_would_read(world: World, tmp_path: Path) -> None:
    with world.repository() as repository:
        (layer,) = repository.manifest(signature.tag(world.digest, "sig")).content["layers"]
        (tmp_path / "payload").write_bytes(repository.content(Descriptor("", layer["digest"], layer["size"])))
        (att, _) = repository.manifest(signature.tag(world.digest, "att")).content["layers"]
        payload, (signed,) = opened(repository.content(Descriptor("", att["digest"], att["size"])))
    (tmp_path / "signature").write_bytes(base64.b64decode(layer["annotations"][signature.ANNOTATION]))
    assert verified_by_openssl(world, tmp_path)
    assert json.loads((tmp_path / "payload").read_bytes())["critical"]["image"] == {
        "docker-manifest-digest": world.digest
    }
    (tmp_path / "payload").write_bytes(signed_bytes(payload))
    (tmp_path / "signature").write_bytes(signed)
    assert verified_by_openssl(world, tmp_path)
    (tmp_path / "payload").write_bytes(signed_bytes(payload + b" "))
    assert not verified_by_openssl(world, tmp_path)


def verified_by_openssl(world: World, folder: Path) -> bool:
    files = ("-verify", world.folder / "mine.pub", "-signature", folder / "signature", folder / "payload")
    done = subprocess.run(("openssl", "dgst", "-sha256", *files), capture_output=True, check=False)
    assert (done.returncode == 0) == (b"Verified OK" in done.stdout)
    return done.returncode == 0


def test_statements_are_referrers_once_however_often_they_are_attached(world: World) -> None:
    with world.repository() as repository:
        before = repository.referrers(world.digest)
        tags = repository.tags()
        run(sealed(world.order, world.reference, world.seal, {}))
        assert repository.referrers(world.digest) == before
        assert repository.tags() == tags
        assert {one["artifactType"] for one in before} == {"application/spdx+json", PAYLOAD_TYPE}
        assert len(store.beside(repository, world.digest, "sig")) == 1
        assert {one.annotations["predicateType"] for one in store.beside(repository, world.digest, "att")} == {
            SPDX,
            PROVENANCE,
        }
        (bill,) = store.attached(repository, world.digest, "application/spdx+json")
        subject = repository.manifest(before[0]["digest"]).content["subject"]
    assert subject["digest"] == world.digest
    names = {one["fileName"] for one in json.loads(bill.payload)["files"]}
    assert {"./opt/sglang-spark/deploy/inside/selftest.py", f".{TREE}/sglang/sglang-spark-patched.json"} <= names


def test_another_key_a_changed_payload_and_another_images_signature_are_found(world: World) -> None:
    assert world.failed(key=public(world.folder / "other.pub")) == {"signature", "sbom", "provenance"}
    copy = copied(world, "copy")
    digest = parse(copy).digest
    with world.repository() as mine, world.repository(copy) as other:
        (good,) = store.beside(mine, world.digest, "sig")
        payload = mine.content(good.content)
        store.put_beside(other, digest, "sig", good, payload)
        assert "not of this image" in world.verified(copy)["signature"][1]
        changed = payload.replace(world.digest.encode(), digest.encode())
        bad = signature.signed_payload(changed, good.signature or b"")
        store.put_beside(other, digest, "sig", bad, changed)
        assert "of other content" in world.verified(copy)["signature"][1]
    run(sign(copy, world.seal))
    assert world.verified(copy)["signature"][0] == "passed"


def copied(world: World, name: str, *paths: str) -> str:
    """The image with one more layer of the same history in a repository of its own: what somebody else might push."""
    with world.repository() as mine:
        manifest = mine.manifest(world.digest)
        packed = write([file(path, b"strange") for path in (*paths, f"tmp/{name}")], buffer := io.BytesIO())
        layer = Layer(Descriptor(LAYERS[OCI], packed.digest, packed.size), packed.diff_id, f"{append.BY}more")
        made, config = appended(manifest, mine.content(manifest.config), Addition((layer,)))
        target = Repository(mine.registry, f"other/{name}")
        for blob in manifest.layers:
            assert target.mount(blob.digest, mine.name)
        target.upload(layer.descriptor, of_bytes(buffer.getvalue()))
        target.upload(made.config, of_bytes(config))
        return f"{target}@{target.put(made.raw, made.media_type, 'x')}"


def test_files_that_this_checkout_does_not_make_are_found(world: World) -> None:
    strange = copied(world, "files", "opt/sglang-spark/deploy/inside/selftest.py", "etc/more")
    failed = world.verified(strange)
    assert failed["files"][0] == "failed"
    assert "selftest.py is another" in failed["files"][1]
    assert failed["signature"] == ("failed", "there is no signature")
    with pytest.raises(BuildError, match=r"selftest\.py is another"):
        run(attest(world.order, strange, Seal(), {}))


@contextmanager
def blob_on_disk(world: World, digest: str) -> Iterator[Path]:
    """Where the registry keeps a blob; it is put back."""
    place = world.folder / "blobs/docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"
    kept = world.folder / "kept"
    shutil.copy(place, kept)
    try:
        yield place
    finally:
        shutil.move(kept, place)


def test_layers_that_are_missing_or_broken_are_found(world: World) -> None:
    with world.repository() as repository:
        base, own = (one.digest for one in repository.manifest(world.digest).layers)
    with blob_on_disk(world, own) as data:
        data.write_bytes(data.read_bytes()[:-1] + b"x")
        assert world.failed() == {"layers.own", "files"}
        data.unlink()
        assert world.failed() == {"layers.own", "files"}
    with blob_on_disk(world, base) as data:
        data.unlink()
        assert world.failed() == {"layers.base"}
    assert world.failed() == set()


def test_a_checkout_that_makes_another_recipe_is_told(world: World) -> None:
    other = world.order.image.model_copy(update={"allow": ["unknown-base"]})
    found = world.verified(cluster=world.cluster(other))
    assert found["recipe"][0] == "failed"
    assert world.order.context.recipe in found["recipe"][1]
    wrong = replace(world.order, context=replace(world.order.context, recipe="0" * 64))
    with pytest.raises(BuildError, match="this checkout makes 0000"):
        run(attest(wrong, world.reference, Seal(), {}))


def test_an_identity_needs_cosign_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="`cosign`, which is not installed here"):
        run(sign(world.reference, Seal(keyless=True)))
    with pytest.raises(ConfigError, match="not installed here"):
        world.verified(key=None, identity=Identity("me", "https://issuer"))


def test_verify_tells_programs_what_it_found_and_ends_with_3_where_a_check_failed(world: World, tmp_path: Path) -> None:
    host = parse(world.base).host
    document = {
        "name": "x",
        "image": {"base": world.base, "repository": f"{host}/own/image", "sglang": VERSION, "nccl": None},
        "nodes": [{"host": "spark1", "fabric": "192.168.101.11"}],
    }
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(document))
    words = (*CLI, "image", "verify", world.reference, "--json", "--key")
    argv = (*words, str(world.folder / "other.pub"))
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["image"], found["passed"]) == (3, world.reference, False)
    assert {one["id"]: one["outcome"] for one in found["checks"]}["self-test"] == "not_checked"
