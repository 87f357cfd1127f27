"""The stand-in for docker reads calls as Docker does, and refuses what it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.cluster.load import load
from deploy.container import run as docker_run
from deploy.launch.node import assumed_spark
from deploy.launch.plan import rank_container
from tests.gpu import standin_docker
from tests.gpu.standin_docker import RUN_FLAGS, RUN_VALUES, parsed, rendered


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(standin_docker, "STATE", tmp_path)
    return tmp_path


def test_every_option_that_up_gives_a_rank_is_known(root: Path) -> None:
    cluster = load(str(root / "cluster.yaml")).cluster
    one = rank_container(cluster, 1, "image@sha256:0", assumed_spark(cluster.nodes[1].fabric))
    options, (image, *argv) = parsed(docker_run(one)[2:], RUN_FLAGS, RUN_VALUES)
    assert options["--name"] == [one.name]
    assert image == "image@sha256:0"
    assert tuple(argv) == one.argv


def test_an_unknown_option_is_refused_and_kept(state: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(["--unheard-of", "x"], {"--all"}, set())
    assert ended.value.code == 125
    assert "--unheard-of" in (state / "refused").read_text()


def test_short_options_and_values_after_an_equals_sign_are_read() -> None:
    options, rest = parsed(["-aq", "--filter=label=a=b", "-f", "name=x", "one"], {"--all", "--quiet"}, {"--filter"})
    assert options == {"--all": [""], "--quiet": [""], "--filter": ["label=a=b", "name=x"]}
    assert rest == ["one"]


def test_a_template_of_fields_is_rendered() -> None:
    value = {"Name": "/a", "State": {"ExitCode": 137}}
    assert rendered('container {"s":{{json .State}}} {{.Name}}', value) == 'container {"s":{"ExitCode":137}} /a'
    assert json.loads(rendered("{{json .}}", value)) == value


@pytest.mark.parametrize("template", ["{{range .Ports}}x{{end}}", "{{.Missing}}"])
def test_a_template_beyond_it_is_refused(template: str, state: Path) -> None:
    with pytest.raises(SystemExit):
        rendered(template, {"Name": "/a"})
    assert (state / "refused").exists()
