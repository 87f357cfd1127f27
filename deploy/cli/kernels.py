"""`kernels`: options in, verdicts out; tables and pictures on stdout or in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli import options

if TYPE_CHECKING:
    from deploy.kernels.proven import Proven
    from deploy.kernels.report import Report
    from deploy.kernels.setting import Setting

ROOT = Path(__file__).resolve().parents[2]


@click.group()
def kernels() -> None:
    """Kernel tables: what they need, and whether it fits."""


def _setting(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say what the tables are for; cluster.yaml says what they leave out."""
    for option in reversed(
        (
            click.option(
                "--nodes",
                "path",
                metavar="FILE",
                help="Take versions, model and flags from it.  [default: cluster.yaml, where it is]",
            ),
            click.option("--gpu", default="GB10", show_default=True, help="GB10, 'RTX 5090', H100, ..."),
            click.option("--sglang", metavar="VERSION", help="SGLang in the image."),
            click.option("--triton", metavar="VERSION", help="Triton in the image."),
            click.option("--model", metavar="NAME", help="Hub name (looked up on this machine) or a config.json."),
            click.option("--tp", type=click.IntRange(1), help="Tensor-parallel size."),
            click.option("--ep", type=click.IntRange(1), help="Expert-parallel size."),
            click.option("--experts", type=click.IntRange(1), help="By hand: experts of a rank (E)."),
            click.option("--intermediate", type=click.IntRange(1), help="By hand: their size on a rank (N)."),
            click.option("--hidden", type=click.IntRange(1), help="By hand: the model's hidden size (K)."),
            click.option("--top-k", type=click.IntRange(1), help="By hand: experts of a token."),
            click.option("--dtype", help="By hand: fp8_w8a8, int8_w8a8, bf16, ..."),
            click.option("--block", metavar="N,K", help="By hand: the block that shares a scale."),
            click.option("--per-channel", is_flag=True, default=None, help="By hand: a scale a channel."),
        )
    ):
        command = option(command)
    return command


@kernels.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@_setting
@click.option("--exact", is_flag=True, help="Ask Triton's compiler too; needs the whole shape and PyPI.")
@click.option("-v", "--verbose", is_flag=True, help="Entry by entry, however many tables there are.")
@options.as_json
def check(paths: tuple[Path, ...], exact: bool, verbose: bool, as_json: bool, **given: Any) -> None:
    """Say of each table what every batch size takes, what it needs, and whether it runs.

    PATH is a table, a folder of them, or a tree of SGLang; without one, the project's configs/. Exit code 9 where a
    table cannot run.
    """
    from deploy.errors import KernelError
    from deploy.kernels.report import report_json, report_text

    setting = _resolved(given)
    report = _checked(paths or (ROOT / "configs",), setting)
    proved = _proved(report, setting) if exact else None
    if as_json:
        click.echo(json.dumps({**report_json(report), "exact": proved and proved.as_json()}, indent=2))
    else:
        click.echo(report_text(report, detailed=verbose))
        if proved:
            click.echo(proved.as_text())
    wrong = [*report.errors, *(proved.errors if proved else ())]
    if wrong:
        first = wrong[0]
        message = f"{first.place}: {first.message}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        raise KernelError(message, first.hint)
    if not report.verdicts:
        raise KernelError(f"no table below {', '.join(map(str, paths))}", "name a table, or the folder that holds it")


def _resolved(given: dict[str, Any]) -> Setting:
    from deploy.kernels.setting import resolve
    from deploy.launch.sglang import server_flags

    path = given.pop("path") or ("cluster.yaml" if Path("cluster.yaml").is_file() else None)
    if path is None:
        return resolve(given, None, {})
    from deploy.cluster.load import load

    cluster = load(path).cluster
    return resolve(given, cluster, server_flags(cluster))


def _checked(paths: tuple[Path, ...], setting: Setting) -> Report:
    from dataclasses import replace

    from deploy.errors import ConfigError
    from deploy.kernels.check import check
    from deploy.kernels.files import table_files
    from deploy.kernels.report import Report, served

    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: is not there", "name a table, a folder of tables or a tree of SGLang")
    target = replace(setting.target, small_default=_patched())
    verdicts = check(table_files(paths), target, setting.shape)
    found = served(verdicts, setting.shape, target) if setting.shape else None
    return Report(target, verdicts, found, setting.batches)


def _patched() -> bool:
    """Whether a patch of the project changes SGLang's default."""
    manifest = ROOT / "patches" / "manifest.json"
    return manifest.is_file() and "fused_moe_triton_config.py" in manifest.read_text(encoding="utf-8")


def _proved(report: Report, setting: Setting) -> Proven:
    from deploy.cli.output import result, view
    from deploy.kernels.proven import proven

    with view() as shown:
        return result(proven(report.verdicts, setting.shape, report.target), shown)
