"""The registry room against a real registry, behind a proxy that makes faults."""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.cluster.spec import Image
from deploy.errors import ConfigError, RegistryError
from deploy.event import Note, Progress
from deploy.image.mirror import mirror
from deploy.registry import lookup, trust
from deploy.registry.call import PIECE
from deploy.registry.client import Registry
from deploy.registry.lookup import resolve
from deploy.registry.manifest import CONFIGS, DOCKER_INDEX, LAYERS, OCI, Descriptor, Manifest, compact, sha256
from deploy.registry.patience import Patience
from deploy.registry.repository import Repository, of_bytes
from deploy.registry.transfer import copied
from tests.integration.image_parts import registry
from tests.integration.registry_faults import Fault, Proxy, proxy
from tests.operation import run

pytestmark = pytest.mark.integration
LOGIN = "builder:marker-" + secrets.token_hex(8)
AUTH = {"auth": base64.b64encode(LOGIN.encode()).decode()}
LAYER = secrets.token_bytes(5_000_000)
BLOB = Descriptor(LAYERS[OCI], sha256(LAYER), len(LAYER))
CONFIG = compact({"os": "linux", "architecture": "arm64", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}})
IMPATIENT = Patience(waits=(0.01, 0.01, 0.01), most=2.0, connect=2.0, read=1.0, finish=5.0)


@dataclass
class World:
    """A real registry, its proxy with and without tokens, and the same under another name, as if elsewhere."""

    real: str
    plain: Proxy
    tokens: Proxy

    def repository(self, through: Proxy, name: str = "") -> Repository:
        made = Registry(through.host, IMPATIENT)
        return Repository(made, name or f"test/{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        real = stack.enter_context(registry(tmp_path_factory.mktemp("registry"), *LOGIN.split(":")))
        plain = stack.enter_context(proxy(real, LOGIN))
        tokens = stack.enter_context(proxy(real, LOGIN, tokens=60.0))
        yield World(real, plain, tokens)


@pytest.fixture
def world(parts: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The parts without faults, and a Docker configuration with logins to them."""
    hosts = (parts.real, parts.plain.host, parts.tokens.host)
    (tmp_path / "config.json").write_text(json.dumps({"auths": dict.fromkeys(hosts, AUTH)}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for one in (parts.plain, parts.tokens):
        one.faults.clear()
        one.asked.clear()
        one.granted.clear()
        one.received, one.given, one.tokens = 0, 0, 60.0 if one is parts.tokens else 0.0
    return parts


@pytest.fixture
def base(world: World) -> Repository:
    """A repository with an image of one layer of 5 MB, which no test changes."""
    made = world.repository(world.plain, "test/base")
    if not made.digest("spark"):
        image(made)
    world.plain.asked.clear()
    world.plain.given = world.plain.received = 0
    return made


def image(made: Repository, tag: str = "spark") -> Manifest:
    config = Descriptor(CONFIGS[OCI], sha256(CONFIG), len(CONFIG))
    made.upload(BLOB, of_bytes(LAYER))
    made.upload(config, of_bytes(CONFIG))
    manifest = {"schemaVersion": 2, "mediaType": OCI, "config": config.content, "layers": [BLOB.content]}
    made.put(compact(manifest), OCI, tag)
    return made.manifest(tag)


def content(made: Repository) -> bytes:
    return b"".join(made.blob(BLOB.digest, BLOB.size).pieces())


def test_what_was_put_is_found_and_what_was_not_is_not(base: Repository, world: World) -> None:
    manifest = base.manifest("spark")
    assert (manifest.layers, base.digest("spark"), base.tags()) == ((BLOB,), manifest.digest, ["spark"])
    assert resolve(f"{base}:spark") == resolve(f"{base}@{manifest.digest}") == manifest.digest
    assert base.digest("other") == ""
    assert not base.has(sha256(b"other"))
    assert base.referrers(manifest.digest) == []
    with pytest.raises(RegistryError, match="no such image"):
        resolve(f"{base}:other")


def test_referrers_are_found_by_their_tag_where_a_registry_has_no_list_of_them(world: World) -> None:
    base = world.repository(world.plain)
    subject = image(base)
    one = Descriptor(OCI, subject.digest, len(subject.raw)).content | {"artifactType": "text/spdx"}
    index = compact({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [one]})
    base.put(index, DOCKER_INDEX, subject.digest.replace(":", "-"))
    assert base.referrers(subject.digest) == [one]


@pytest.mark.parametrize("after", [1, 1_500_000])
def test_a_blob_that_is_cut_goes_on_where_it_was_cut(base: Repository, world: World, after: int) -> None:
    world.plain.faults.append(Fault("GET", "/blobs/sha256", sent=after))
    assert content(base) == LAYER
    assert len(LAYER) <= world.plain.given < len(LAYER) + 1000
    assert [one.headers.get("Range") for one in world.plain.asked if "/blobs/" in one.path][-1] == f"bytes={after}-"


def test_a_registry_that_keeps_cutting_is_given_up(base: Repository, world: World) -> None:
    world.plain.faults.append(Fault("GET", "/blobs/sha256", times=-1, sent=1))
    with pytest.raises(RegistryError, match="tried 4 times"):
        content(base)


def test_a_blob_with_a_wrong_byte_never_comes_whole(base: Repository, world: World) -> None:
    world.plain.faults.append(Fault("GET", "/blobs/sha256", changed=True))
    target = world.repository(world.tokens)
    with pytest.raises(RegistryError, match="not what its checksum says"):
        run(copied(base, target, base.manifest("spark")))
    assert not target.has(BLOB.digest)
    assert target.tags() == []


def test_an_upload_that_is_cut_is_sent_anew(world: World) -> None:
    target = world.repository(world.plain)
    world.plain.faults.append(Fault("PUT", "/blobs/uploads", taken=3_000_000))
    target.upload(BLOB, of_bytes(LAYER))
    assert content(target) == LAYER
    assert world.plain.received == len(LAYER) + 3_000_000


def test_an_upload_that_keeps_being_cut_leaves_nothing(world: World) -> None:
    target = world.repository(world.plain)
    world.plain.faults.append(Fault("PUT", "/blobs/uploads", times=-1, taken=100_000))
    with pytest.raises(RegistryError, match=r"\(5\.0 MB\) \(tried 4 times\)"):
        target.upload(BLOB, of_bytes(LAYER))
    assert not target.has(BLOB.digest)


def test_bytes_that_changed_before_they_were_sent_are_refused_by_the_registry(world: World) -> None:
    target = world.repository(world.plain)
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        target.upload(BLOB, of_bytes(LAYER[:-1] + bytes([LAYER[-1] ^ 1])))
    assert not target.has(BLOB.digest)


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_fails_for_a_while_is_asked_again(base: Repository, world: World, status: int) -> None:
    headers = {"Retry-After": "1"} if status == 429 else {}
    world.plain.faults += [
        Fault("GET", "/manifests/", status=status, headers=headers),
        Fault("GET", "/blobs/sha256", times=2, status=status),
        Fault("POST", "/uploads/", status=status),
        Fault("PUT", "/blobs/uploads/", status=status),
        Fault("PUT", "/manifests/", times=3, status=status),
    ]
    target = world.repository(world.plain)
    manifest = base.manifest("spark")
    assert content(base) == LAYER
    target.upload(BLOB, of_bytes(LAYER))
    target.upload(manifest.config, of_bytes(CONFIG))
    assert target.put(manifest.raw, OCI, "spark") == target.digest("spark") == manifest.digest


def test_a_registry_that_asks_for_a_long_wait_is_not_waited_for(base: Repository, world: World) -> None:
    world.plain.faults.append(Fault("HEAD", "/manifests/", status=429, headers={"Retry-After": "600"}))
    with pytest.raises(RegistryError, match=r"rate limit.* left alone for 600 s"):
        base.digest("spark")


@pytest.mark.parametrize(
    ("status", "said"), [(403, "may not do this"), (404, "no such image"), (401, "refused the login")]
)
def test_a_refusal_is_said_at_once(base: Repository, world: World, status: int, said: str) -> None:
    base.digest("spark")
    world.plain.asked.clear()
    world.plain.faults.append(Fault("GET", "/manifests/", times=-1, status=status))
    with pytest.raises(RegistryError, match=said) as caught:
        base.manifest("spark")
    assert caught.value.hint
    assert len(world.plain.asked) == 1


def test_a_registry_that_says_nothing_is_given_up(world: World) -> None:
    world.plain.faults.append(Fault("HEAD", "/manifests/", times=-1, delay=0.7))
    impatient = Patience(waits=(0.01,), read=0.3)
    with (
        Registry(world.plain.host, impatient) as silent,
        pytest.raises(RegistryError, match=r"timed out.*tried 2 times"),
    ):
        Repository(silent, "test/x").digest("spark")


def test_a_blob_that_stalls_is_asked_for_anew_from_there(base: Repository, world: World) -> None:
    world.plain.faults.append(Fault("GET", "/blobs/sha256", sent=2_000_000, stall=1.5))
    assert content(base) == LAYER
    assert len(LAYER) <= world.plain.given < len(LAYER) + PIECE + 1000


def test_a_registry_that_is_down_is_said(world: World) -> None:
    with (
        Registry("127.0.0.1:9", IMPATIENT) as down,
        pytest.raises(RegistryError, match="connection to the registry failed"),
    ):
        Repository(down, "test/x").digest("spark")


def test_tokens_are_asked_for_what_is_done_and_kept(world: World) -> None:
    target = world.repository(world.tokens)
    image(target)
    content(target)
    asked = [one.query["scope"] for one in world.tokens.asked if one.path == "/token"]
    assert asked == [[f"repository:{target.name}:pull,push"], [f"repository:{target.name}:pull"]]
    source, other = target.name, world.repository(world.tokens)
    assert other.mount(BLOB.digest, source)
    assert other.has(BLOB.digest)
    scopes = [one.query["scope"] for one in world.tokens.asked if one.path == "/token"][2]
    assert scopes == [f"repository:{other.name}:pull,push", f"repository:{source}:pull"]


def test_a_token_that_ends_half_way_through_a_copy_is_renewed(base: Repository, world: World) -> None:
    source = world.repository(world.tokens, base.name)
    target = world.repository(world.tokens)
    manifest = source.manifest("spark")
    world.tokens.faults += [
        Fault("GET", "/blobs/sha256", sent=2_000_000, delay=0.3),
        Fault("PUT", "/uploads/", delay=0.3),
    ]
    world.tokens.tokens = 0.25
    target.registry.host = "elsewhere"
    run(copied(source, target, manifest))
    target.put(manifest.raw, OCI, "spark")
    world.tokens.tokens = 60.0
    assert content(target) == LAYER
    assert len([one for one in world.tokens.asked if one.path == "/token"]) > 4


def test_a_wrong_login_is_said_and_shows_no_password(world: World, tmp_path: Path) -> None:
    auth = base64.b64encode(f"wrong-{LOGIN}".encode()).decode()
    hosts = (world.plain.host, world.tokens.host)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth} for host in hosts}}))
    for through in (world.plain, world.tokens):
        with pytest.raises(RegistryError, match="refused the login") as caught:
            world.repository(through).digest("spark")
        assert LOGIN not in f"{caught.value!r}{caught.value.hint}"


def test_the_login_does_not_go_where_a_redirect_leads(base: Repository, world: World) -> None:
    there = world.tokens.host  # another port is another host
    for status in (302, 307):
        place = f"http://{there}/v2/{base.name}/blobs/{BLOB.digest}?signed=yes"
        world.plain.faults.append(Fault("GET", "/blobs/sha256", status=status, headers={"Location": place}))
        with pytest.raises(RegistryError, match="401"):
            content(base)
    assert world.tokens.asked
    assert all("Authorization" not in one.headers for one in world.tokens.asked)


def test_the_login_does_not_go_where_an_upload_is_sent(world: World) -> None:
    target = world.repository(world.plain)
    place = f"http://{world.tokens.host}/v2/{target.name}/blobs/uploads/x"
    target.digest("spark")  # from here on the login is known
    world.plain.faults.append(Fault("POST", "/uploads/", status=202, headers={"Location": place}))
    with pytest.raises(RegistryError, match="401"):
        target.upload(BLOB, of_bytes(LAYER))
    assert [(one.method, "Authorization" in one.headers) for one in world.tokens.asked] == [("PUT", False)]


def test_a_login_comes_from_a_helper_and_one_that_is_missing_is_said(
    base: Repository, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {world.plain.host: "ours"}}))
    with pytest.raises(ConfigError, match="docker-credential-ours"):
        world.repository(world.plain, base.name).digest("spark")
    user, _, password = LOGIN.partition(":")
    helper = tmp_path / "docker-credential-ours"
    said = json.dumps({"Username": user, "Secret": password})
    helper.write_text(f"#!/bin/sh\n[ \"$1 $(cat)\" = 'get {world.plain.host}' ] && echo '{said}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert world.repository(world.plain, base.name).digest("spark") == base.digest("spark")
    helper.write_text("#!/bin/sh\necho credentials not found in native keychain; exit 1\n")
    with pytest.raises(RegistryError, match="refused the login"):
        world.repository(world.plain, base.name).digest("spark")


@pytest.mark.parametrize("status", [401, 404])
def test_a_mount_that_is_refused_leaves_the_upload(base: Repository, world: World, status: int) -> None:
    world.plain.faults.append(Fault("POST", "/uploads/", status=status))
    target = world.repository(world.plain)
    run(copied(base, target, base.manifest("spark")))
    assert content(target) == LAYER


def test_a_mount_that_is_not_done_is_an_upload_that_nobody_uses(base: Repository, world: World) -> None:
    target = world.repository(world.plain)
    assert not target.mount(sha256(b"nowhere"), base.name)
    assert world.plain.count("DELETE", "/blobs/uploads/") == 1


def test_an_authority_of_ones_own_is_trusted_where_docker_keeps_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "ca.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    monkeypatch.setattr(trust, "FOLDERS", (tmp_path / "certs.d",))
    with proxy(world.real, LOGIN, 60.0, tls) as safe:
        (tmp_path / "certs.d" / safe.host).mkdir(parents=True)
        with pytest.raises(RegistryError, match=r"no TLS with the registry: .*certificate verify failed") as caught:
            world.repository(safe).digest("spark")
        assert "certs.d" in caught.value.hint
        (tmp_path / "certs.d" / safe.host / "ca.crt").write_bytes((tmp_path / "ca.crt").read_bytes())
        (tmp_path / "config.json").write_text(json.dumps({"auths": {safe.host: AUTH}}))
        image(world.repository(safe))


def test_a_manifest_that_lacks_a_blob_is_no_image(base: Repository, world: World) -> None:
    target = world.repository(world.plain)
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        target.put(base.manifest("spark").raw, OCI, "spark")
    assert target.tags() == []


def test_the_base_is_mirrored_once_and_what_failed_half_way_goes_on(base: Repository, world: World) -> None:
    target = f"{world.tokens.host}/test/{secrets.token_hex(4)}"
    asked = Image(base=f"{base}:spark", repository=target, platform="linux/arm64")
    world.tokens.faults += [Fault("PUT", "/manifests/", status=403)]
    with pytest.raises(RegistryError, match="may not do this"):
        run(mirror(asked))
    assert world.tokens.received == len(LAYER) + len(CONFIG)
    events, reference = run(mirror(asked))
    digest = base.digest("spark")
    assert world.tokens.received < len(LAYER) + len(CONFIG) + 1000
    assert reference == f"{target}:base-{digest[7:19]}@{digest}"
    assert resolve(reference) == resolve(reference.partition("@")[0]) == digest
    events, again = run(mirror(asked))
    assert again == reference
    assert [event.text for event in events if isinstance(event, Note)] == [
        f"{target} has {base}:spark already: {digest}"
    ]


def test_an_interrupted_copy_ends_at_once_and_leaves_no_image(base: Repository, world: World) -> None:
    target = f"{world.tokens.host}/test/{secrets.token_hex(4)}"
    world.plain.faults.append(Fault("GET", BLOB.digest, sent=1_000_000, stall=0.8))
    going = mirror(Image(base=f"{base}:spark", repository=target, platform="linux/arm64"))
    assert next(event for event in going if isinstance(event, Progress)).total == len(LAYER) + len(CONFIG)
    going.close()
    assert (world.tokens.count("PUT", "/manifests/"), world.tokens.received < len(LAYER)) == (0, True)


def test_a_base_for_another_platform_is_refused_with_what_there_is(base: Repository, world: World) -> None:
    asked = Image(base=f"{base}:spark", repository=f"{world.tokens.host}/test/x", platform="linux/amd64")
    with pytest.raises(RegistryError, match="is for linux/arm64, not for linux/amd64"):
        run(mirror(asked))


def test_of_an_index_the_image_for_the_platform_is_mirrored(world: World) -> None:
    base = world.repository(world.plain)
    there = image(base)
    entry = Descriptor(OCI, there.digest, len(there.raw)).content | {
        "platform": {"os": "linux", "architecture": "arm64"}
    }
    index = compact({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [entry]})
    named = base.put(index, DOCKER_INDEX, "both")
    found = lookup.image(base, "both", "linux/arm64")
    assert (found.manifest, found.config, found.named) == (there, CONFIG, named)
    asked = Image(base=f"{base}:both", repository=f"{world.tokens.host}/test/index", platform="linux/arm64")
    assert run(mirror(asked))[1].endswith(f"@{there.digest}")
    with pytest.raises(RegistryError, match="no image for linux/amd64; there is linux/arm64"):
        lookup.image(base, "both", "linux/amd64")
