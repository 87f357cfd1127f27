"""The systemd unit and the file of its variables."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import ConfigError
from deploy.launch.watch.unit import Service, name, render, variables

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "unit"
SERVICE = Service(
    "sparks",
    PurePath("/opt/spark/.venv/bin/python"),
    PurePath("/opt/spark/build-and-deploy.py"),
    PurePath("/home/ana/my cluster.yaml"),
    PurePath("/etc/sglang-spark/sparks.env"),
    "root",
)


def test_the_unit_is_the_one_that_was_read_and_agreed_to() -> None:
    assert render(SERVICE) == (GOLDEN / name("sparks")).read_text()


def test_a_user_s_unit_names_no_user_and_no_network() -> None:
    text = render(replace(SERVICE, user=""))
    assert "User=" not in text
    assert "network-online" not in text
    assert "WantedBy=default.target" in text


@pytest.mark.parametrize("path", ["/a\nExecStart=/bin/sh", "/a\rb", "/a\x00b"])
def test_a_path_cannot_add_a_line(path: str) -> None:
    for service in (replace(SERVICE, file=PurePath(path)), replace(SERVICE, environment=PurePath(path))):
        with pytest.raises(ConfigError):
            render(service)


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1))
def test_any_path_is_one_word_that_reads_back(text: str) -> None:
    lines = render(replace(SERVICE, file=PurePath("/x") / f"a{text}")).splitlines()
    command = next(line for line in lines if line.startswith("ExecStart="))
    words = shlex.split(command.removeprefix("ExecStart="), posix=True)
    assert len(words) == 6
    assert words[-1].replace("%%", "%").replace("$$", "$") == str(PurePath("/x") / f"a{text}")


def read_back(text: str) -> dict[str, str]:
    """As systemd reads EnvironmentFile= in double quotes: a backslash takes the meaning from " \\ $ and `."""
    pairs = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE | re.DOTALL)
    return {key: re.sub(r'\\([\\"$`])', r"\1", value) for key, value in pairs}


@given(st.dictionaries(st.sampled_from(["A", "B_2", "HF_TOKEN"]), st.text(st.characters(blacklist_categories=["Cs"]))))
def test_any_value_reads_back_to_the_letter_or_is_refused(values: dict[str, str]) -> None:
    if any(mark in value for value in values.values() for mark in "\x00\r"):
        with pytest.raises(ConfigError):
            variables(values)
    else:
        assert read_back(variables(values)) == values
