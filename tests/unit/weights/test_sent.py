"""What is sent to nodes needs nothing that a node may lack."""

from __future__ import annotations

import ast
import base64
import io
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.cluster.spec import Cluster
from deploy.weights import command
from deploy.weights.sent import MODULES, program
from tests.unit.inside.test_alone import imported

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@pytest.mark.parametrize("module", MODULES)
def test_it_imports_the_standard_library_and_what_is_sent_with_it(module: str) -> None:
    sent = {f"deploy.{name}".replace("/", ".").removesuffix(".__init__") for name in MODULES}
    for name in imported(ast.parse((DEPLOY / f"{module}.py").read_text(), feature_version=(3, 10))):
        own = name in sent or (module == "weights/hub" and name == "huggingface_hub")
        assert own or name.partition(".")[0] in sys.stdlib_module_names, name


def test_the_archive_has_every_module_and_fits_an_argument() -> None:
    archive = program("look")[2]
    assert len(archive) < 1 << 17, "the most that Linux takes as one argument"
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))).namelist()
    assert names == [f"deploy/{name}.py" for name in MODULES]


def test_a_token_is_in_no_argument() -> None:
    image = {"base": "a:b", "repository": "ghcr.io/ana/server"}
    cluster = Cluster.model_validate(
        {"name": "c", "image": image, "nodes": [{"host": "a", "fabric": "10.0.0.1"}],
         "environment": {"HF_ENDPOINT": "http://hub", "HF_HUB_OFFLINE": "1"}}
    )  # fmt: skip
    order = {"hub": "/home/ana/hub", "token": "hf_secret"}
    made = command.at_the_hub("download", order, cluster, "ghcr.io/ana/server@sha256:1")
    assert "hf_secret" not in str(made)
    assert "hf_secret" not in repr(made)
    assert "hf_secret" in made.stdin
    assert made.secret
    assert "HF_ENDPOINT=http://hub" in made.argv
    assert "HF_HUB_OFFLINE=1" not in made.argv, "the ranks may be offline; who fetches is not"
    assert "/home/ana/hub:/home/ana/hub" in made.argv
