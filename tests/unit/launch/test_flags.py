"""The flag tables: read from source text, written as JSON, and taken back as an argument parser."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from deploy.launch.flags import FlagTable, UnreadableSourceError, derive, parser

TABLES = Path("deploy/launch/tables")
LAUNCH_LINE = shlex.split(
    "--model-path zai-org/GLM-4.7-FP8 --tp 4 --nnodes 4 --node-rank 0 --dist-init-addr 192.168.101.11:50000"
    " --dist-timeout 600 --host 0.0.0.0 --port 30000 --trust-remote-code --max-running-requests 64"
    " --context-length 32768 --reasoning-parser glm45 --speculative-algorithm EAGLE --speculative-num-steps 3"
    " --speculative-num-draft-tokens 8 --speculative-eagle-topk 2"
)
SOURCES = {
    "srt/server_args.py": """
from sglang.srt.names import Names
from sglang.srt.colours import COLOURS, EXTRA
SIZES = [1, 2]
class ServerArgs:
    model_path: str
    factor: int = 10 * 3
    low: int = -1
    name: str = None
    def add_cli_args(parser):
        parser.add_argument("--model-path", "--model", type=str, required=True)
        parser.add_argument("--factor", type=int, default=ServerArgs.factor, choices=SIZES)
        parser.add_argument("--tensor-parallel-size", "--tp", type=int, default=ServerArgs.low)
        names = list(Names.Map.keys())
        parser.add_argument("--name", choices=names, default=ServerArgs.name)
        parser.add_argument("--colour", choices=COLOURS + [EXTRA], nargs="*")
        parser.add_argument("--old", action=DeprecatedAction, help="gone")
        parser.add_argument("-q", "--quiet", dest="silent", action="store_true")
""",
    "srt/names.py": "class Names:\n    Map: dict = {'a': A, 'b': B}\n",
    "srt/colours.py": "COLOURS = ['red']\nEXTRA = 'all'\n",
}


def made(extra: str = "") -> FlagTable:
    sources = SOURCES | {"srt/server_args.py": SOURCES["srt/server_args.py"] + extra}
    return derive("1.0", sources.__getitem__)


def kept(version: str) -> FlagTable:
    return FlagTable.from_json((TABLES / f"{version}.json").read_text())


def test_a_flag_is_found_by_each_of_its_spellings() -> None:
    table = made()
    assert table.find("--tp") == table.find("--tensor-parallel-size")
    assert table.find("--tp").default == -1
    assert table.find("--quiet").dest == "silent"
    assert table.find("--nothing") is None


def test_an_abbreviation_is_found_where_argparse_would_take_it() -> None:
    table = kept("0.5.4.post2")
    assert table.find("--tp").name == "tensor-parallel-size"
    assert table.find("--speculative-num") is None


def test_choices_are_followed_through_names_imports_and_keys() -> None:
    table = made()
    assert table.find("--factor").choices == (1, 2)
    assert table.find("--name").choices == ("a", "b")
    assert table.find("--colour").choices == ("red", "all")


def test_defaults_come_from_the_dataclass() -> None:
    assert made().find("--factor").default == 30
    assert made().find("--quiet").default is False
    assert made().find("--name").default is None


def test_a_deprecated_flag_is_marked_and_refused() -> None:
    assert made().find("--old").deprecated
    with pytest.raises(SystemExit, match="2"):
        parser(made()).parse_args(["--model", "m", "--old"])


def test_choices_that_cannot_be_read_are_an_error_and_not_left_out() -> None:
    with pytest.raises(UnreadableSourceError, match="somewhere"):
        made("        parser.add_argument('--new', choices=somewhere())\n")


def test_a_source_without_arguments_is_an_error() -> None:
    with pytest.raises(UnreadableSourceError, match="adds no arguments"):
        derive("9.9", lambda _: "class ServerArgs: pass")


def test_a_table_survives_json() -> None:
    assert FlagTable.from_json(made().to_json()) == made()


@pytest.mark.parametrize(("version", "flags", "spellings"), [("0.5.4.post2", 269, 277), ("0.5.4.post3", 272, 280)])
def test_the_tables_kept_have_every_flag(version: str, flags: int, spellings: int) -> None:
    table = kept(version)
    assert (table.version, len(table.flags)) == (version, flags)
    assert sum(len(flag.spellings) for flag in table.flags) == spellings
    assert len({flag.name for flag in table.flags}) == flags
    assert len(table.wheel) == 64


@pytest.mark.parametrize("version", ["0.5.4.post2", "0.5.4.post3"])
def test_the_launch_line_is_taken_and_glm47_is_refused_unpatched(
    version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = parser(kept(version))
    assert made.parse_args([*LAUNCH_LINE, "--tool-call-parser", "glm45"]).tensor_parallel_size == 4
    with pytest.raises(SystemExit, match="2"):
        made.parse_args([*LAUNCH_LINE, "--tool-call-parser", "glm47"])
    assert "invalid choice: 'glm47'" in capsys.readouterr().err


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        parser(kept("0.5.4.post2")).parse_args([*LAUNCH_LINE, "--enable-adaptive-moe"])
