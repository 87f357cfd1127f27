"""Text from cluster.yaml is refused, or stays a text: in every command for a node, and in the Dockerfile."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy import container
from deploy.cluster.load import Document, parse
from deploy.command import Command
from deploy.errors import ConfigError
from deploy.image.dockerfile import render
from deploy.launch import plan
from deploy.launch.doctor.model import place
from deploy.launch.node import RunningRank
from deploy.launch.takedown import halt, takedown
from deploy.remote import evidence, facts, live, lock, look, pulse, survey
from deploy.workflow.asked import checked
from tests.unit.launch.samples import DIGEST, spark
from tests.unit.security.fields import Field, fields, plain, said, texts, written

FIELDS = fields()
SECRETS = {"HF_TOKEN": "x"}
ALWAYS_CHANGES = f"{container.LAUNCH}="


def commands(document: Document) -> Iterator[Command]:
    """Everything that is run on a node for this cluster, by all commands of the toolkit."""
    cluster = document.cluster
    # A home folder of "~" makes the place of a folder what cluster.yaml says.
    # One interface: a fabric address that is drawn may be that of another.
    seen = [replace(spark(node.fabric), home="~", interfaces=(("eth0", node.fabric),)) for node in cluster.nodes]
    old = [RunningRank(plan.rank_name(cluster, r), r, cluster.name, "", "", "exited", "") for r in range(len(seen))]
    seen = [replace(node, ranks=(one,)) for node, one in zip(seen, old, strict=True)]
    values = dict.fromkeys((*cluster.secrets, cluster.api_key or "x"), "x")
    for step in plan.up(cluster, f"{cluster.image.repository}@{DIGEST}", seen, values).steps:
        yield from step.commands.values()
    name = plan.rank_name(cluster, 0)
    yield from (Command(argv) for argv in (container.logs(name), container.release_shards(name, cluster.model.path)))
    yield from (takedown(cluster.name, 0), facts.command(cluster.name), live.command(cluster.name))
    yield from (look.command(cluster.name), pulse.command(cluster.name), *survey.commands(cluster).values())
    yield from (halt(cluster.name), evidence.facts(name), evidence.log(name))
    yield lock.holding((cluster.name, "0", "20", "", "x"), facts.command(cluster.name))
    yield lock.fenced(facts.command(cluster.name), cluster.name, "0")


def accepted(field: Field, text: str) -> Document | None:
    """The document with this text, or None where it is refused by a message that names the field."""
    found = _accepted(field, text)
    if isinstance(found, Document):
        return found
    assert said(field) in found
    assert all(line.isprintable() for line in found.split("\n"))
    return None


def _accepted(field: Field, text: str) -> Document | str:
    try:
        document = parse("c.yaml", written(field, text))
        # Images are built without a look at the flags.
        if field[0] != "image":
            checked(document)
        return document
    except ConfigError as error:
        return error.message


def scripts(argv: tuple[str, ...]) -> list[str]:
    """The words that a shell reads as a program."""
    return [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "-c" and argv[i - 1] == "sh"]


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_the_plain_value_of_a_field_is_taken_so_that_its_test_can_fail(field: Field) -> None:
    assert accepted(field, plain(field)) is not None


@functools.cache
def usual_commands(field: Field) -> list[Command]:
    document = accepted(field, plain(field))
    assert document is not None
    return list(commands(document))


@pytest.mark.parametrize("field", FIELDS, ids=".".join)
@settings(max_examples=30)
@given(data=st.data())
def test_no_text_of_a_field_gets_out_of_its_word(field: Field, data: st.DataObject) -> None:
    text = data.draw(texts(field))
    document = accepted(field, text)
    if document is None:
        return
    for command, usual in zip(commands(document), usual_commands(field), strict=True):
        assert tuple(shlex.split(str(command))) == command.argv
        assert scripts(command.argv) == scripts(usual.argv)
        for word, like in zip(command.argv, usual.argv, strict=True):
            legal = (*with_text(like, plain(field), text), place(document.cluster))
            assert word.startswith(ALWAYS_CHANGES) or word in legal, (word, like)


def with_text(like: str, usual: str, text: str) -> tuple[str, ...]:
    """A word with the text in place of the usual one; inside JSON it is escaped."""
    return tuple(like.replace(usual, new) for new in (text, json.dumps(text)[1:-1]))


@pytest.mark.parametrize("field", [field for field in FIELDS if field[0] == "image"], ids=".".join)
@settings(max_examples=60)
@given(data=st.data())
def test_no_text_of_a_field_adds_an_instruction_to_the_dockerfile(field: Field, data: st.DataObject) -> None:
    text = data.draw(texts(field))
    document, usual = accepted(field, text), accepted(field, plain(field))
    if document is None:
        return
    assert usual is not None
    found, known = ([_shape(line) for line in _instructions(render(one.cluster.image))] for one in (document, usual))
    # Without an allowance its label is not there, and a pinned base has one more.
    assert [name for name, _ in found] == [name for name, _ in known]
    assert found == known or field[-1] in ("[]", "base")


def _instructions(text: str) -> list[str]:
    """Logical lines, as a builder reads them."""
    joined = re.sub(r"\\\n", " ", text)
    return [line for line in joined.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def _shape(line: str) -> tuple[str, int]:
    """The instruction, and how many words it has; a quoted text is one."""
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", line)
    assert '"' not in unquoted
    return line.split()[0], len(unquoted.split())
