"""`kernels`: options in, verdicts out; tables and pictures on stdout or in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli import options
from deploy.cli.setting import resolved, setting

if TYPE_CHECKING:
    from deploy.kernels.check import Verdict
    from deploy.kernels.exact.proven import Proven
    from deploy.kernels.report import Report
    from deploy.kernels.setting import Setting

ROOT = Path(__file__).resolve().parents[2]


@click.group()
def kernels() -> None:
    """Kernel tables: what they need, and whether it fits."""


@kernels.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@setting
@click.option("--exact", is_flag=True, help="Ask Triton's compiler too; needs the whole shape and PyPI.")
@click.option("-v", "--verbose", is_flag=True, help="Entry by entry, however many tables there are.")
@options.as_json
def check(paths: tuple[Path, ...], exact: bool, verbose: bool, as_json: bool, **given: Any) -> None:
    """Say of each table what every batch size takes, what it needs, and whether it runs.

    PATH is a table, a folder of them, or a tree of SGLang; without one, the project's configs/. Exit code 9 where a
    table cannot run.
    """
    from deploy.errors import KernelError
    from deploy.kernels.report import DETAILED, report_json, report_text

    wanted = resolved(given)
    report = _checked(paths or (_shipped(),), wanted)
    proved = _proved(report, wanted) if exact else None
    if as_json:
        said = {**report_json(report), "exact": proved and proved.as_json()}
        # Indented JSON is written by Python code, which takes a second for a whole tree of tables.
        click.echo(json.dumps(said, indent=2 if len(report.verdicts) <= DETAILED else None))
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


@kernels.command()
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@setting
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Draw it: FILE.svg or FILE.png.")
def show(path: Path, output: Path | None, **given: Any) -> None:
    """Show a table entry by entry, and draw it with -o: memory, tile and entry over 1 to 8192 tokens.

    With the `_down` table beside it, where there is one. Drawing needs matplotlib: pip install '.[plots]'.
    """
    from deploy.kernels.report import report_text

    wanted = resolved(given)
    report = _checked(tuple(_with_twin(path)), wanted)
    click.echo(report_text(report, detailed=True))
    if output:
        from deploy.kernels.picture import draw

        draw(report.verdicts, report.target, output)
        click.echo(f"wrote {output}", err=True)


def _with_twin(path: Path) -> list[Path]:
    """An up table with its `_down` table."""
    twin = path.with_name(f"{path.stem}_down.json")
    return [path, twin] if path.is_file() and twin.is_file() else [path]


def _checked(paths: tuple[Path, ...], setting: Setting) -> Report:
    from dataclasses import replace

    from deploy.errors import ConfigError
    from deploy.kernels.check import check
    from deploy.kernels.files import table_files
    from deploy.kernels.report import Report, served

    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: is not there", "name a table, a folder of tables or a tree of SGLang")
    target = replace(setting.target, fitted_default=patched())
    verdicts = check(table_files(paths), target, setting.shape)
    found = served(verdicts, setting.shape, target) if setting.shape else None
    return Report(target, verdicts, found, setting.batches)


def _shipped() -> Path:
    """The project's tables, as short as it can be said."""
    return Path("configs") if Path.cwd() == ROOT else ROOT / "configs"


def patched() -> bool:
    """Whether a patch of the project changes SGLang's default."""
    manifest = ROOT / "patches" / "manifest.json"
    return manifest.is_file() and "fused_moe_triton_config.py" in manifest.read_text(encoding="utf-8")


def _proved(report: Report, setting: Setting) -> Proven:
    from deploy.cli.output import result, view
    from deploy.kernels.exact.proven import proven

    with view() as shown:
        return result(proven(report.verdicts, setting.shape, report.target), shown)


@kernels.command()
@setting
@options.as_json
def name(as_json: bool, **given: Any) -> None:
    """Print where SGLang looks for a model's table, and with --json for its shape and both tables."""
    from dataclasses import asdict

    from deploy.errors import ConfigError
    from deploy.kernels.models import BY_HAND
    from deploy.kernels.name import folder, table_name

    wanted = resolved(given)
    if wanted.shape is None:
        raise ConfigError("no model is named, or its config.json is not on this machine", f"name one, or {BY_HAND}")
    target = wanted.target
    looked = {
        one: table_name(wanted.shape, target.gpu.device, target.rules, down=one == "down") for one in ("up", "down")
    }
    files = {one: f"configs/{folder(target.triton)}/{found}" for one, found in looked.items()}
    if as_json:
        click.echo(json.dumps({"shape": asdict(wanted.shape), "source": wanted.source, "files": files}, indent=2))
    else:
        click.echo(files["up"])


@kernels.command("import")
@click.argument("source")
@setting
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Install there.  [default: configs/]")
@click.option("--force", is_flag=True, help="Replace another table of the same name.")
@click.option("--allow-unsafe", is_flag=True, help="Install even what cannot run.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be installed; write nothing.")
def import_(source: str, into: Path | None, force: bool, **given: Any) -> None:
    """Install tables from elsewhere under the names that SGLang looks for, with their provenance beside them.

    SOURCE is a folder, a table, an archive (.zip, .tar, packed or not), an image that is here, or the address of a git
    repository with an optional #REF. What cannot run is refused. Exit code 9 where nothing was installed.
    """
    from deploy.kernels.install import judged, put, refuse, selected, written
    from deploy.kernels.name import folder
    from deploy.workflow.tables import fetched

    allow, dry = given.pop("allow_unsafe"), given.pop("dry_run")
    target = resolved(given).target
    found, origin = fetched(source, target)
    imports, place = selected(found, target), into or ROOT / "configs"
    verdicts = judged(imports, target, place)
    for verdict in verdicts:
        _say_findings(verdict)
    if not allow:
        refuse(verdicts)
    home = place / folder(target.triton)
    files = written(imports, verdicts, target, origin, _now())
    new = [str(one.name) for one in imports] if dry else put(files, home, force=force)
    for one in imports:
        name = str(one.name)
        done = "would install" if dry else "installed" if name in new else "there already:"
        click.echo(f"{done} {home / name} (from {one.path})")


def _say_findings(verdict: Verdict) -> None:
    """Warnings on stderr; errors are said when they are refused."""
    for one in verdict.findings:
        if one.level == "warning":
            click.echo(f"warning: {Path(one.file).name}: {one.key + ': ' if one.key else ''}{one.message}", err=True)


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
