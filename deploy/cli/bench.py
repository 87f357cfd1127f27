"""`bench`: options in, results out."""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli import options
from deploy.cli.fused import kernels
from deploy.cli.results import compare, report

if TYPE_CHECKING:
    from deploy.workflow.bench import Place

MOST = 2**31


@click.group()
def bench() -> None:
    """Measure a server: speed, tool calls, thinking; or kernels. Compare results and make a page of them."""


bench.add_command(compare)
bench.add_command(kernels)
bench.add_command(report)


@bench.command()
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@click.option("--url", help="An OpenAI-compatible server, such as http://10.0.0.11:30000.")
@click.option("--nodes", "path", metavar="FILE", help="The cluster whose server is measured.")
@click.option("--key-env", metavar="NAME", help="With --url: the variable of your shell that holds the API key.")
@click.option("--model", default="", help="The model to ask for.  [default: the first that the server names]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-results"),
    show_default=True,
    help="Folder for the results: JSON, and CSV beside it.",
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Requests a case.")
@click.option("--seed", type=click.IntRange(0, MOST), help="The same seed asks with the same texts.  [default: random]")
@click.option(
    "--tokens", type=click.IntRange(2), default=256, show_default=True, help="Tokens of an answer that is timed."
)
@click.option(
    "--lengths",
    default="",
    metavar="N,N,...",
    help="Prompt tokens.  [default: `context` 512 to 200000; `load` and `eagle` take the first: 512]",
)
@click.option("--concurrency", metavar="N,N,...", help="`load`: requests at a time; 0: none.  [default: 1 to 32]")
@click.option("--rates", metavar="R,R,...", help="`load`: requests a second; 0: none.  [default: 0.25 to 2]")
@click.option(
    "--requests", type=click.IntRange(0), default=0, help="`load`: of a run.  [default: four for each at a time]"
)
@click.option(
    "--tokenizer", default="", metavar="DIR|NAME", help="`load`: a folder or a hub name.  [default: the model's]"
)
@click.option(
    "--tables", nargs=2, metavar="A B", help="`kernels`: up tables.  [default: the word default, and that in configs/]"
)
@click.option(
    "--roofline",
    metavar="GB,KB,GB/S",
    help="`context`: GB of weights and KB of a token's keys and values that a GPU reads in a step, and its bandwidth.",
)
@click.option("--patience", default=300.0, show_default=True, help="Seconds without a byte until a request has failed.")
@options.as_json
@options.quiet
def run(**given: Any) -> None:
    """Measure a server with one suite or more: context, thinking, toolcall, agentic, load, eagle, tables, kernels.

    `eagle` and `tables` launch the cluster's server anew with other settings where --nodes is given, and bring it back
    as it was. `kernels` needs a GPU in this machine, and no server.
    Tokens are those that the server counts. A failed request is in no median, and makes exit code 6. Ctrl-C keeps the
    cases that are finished.
    """
    from deploy.bench.results import as_json
    from deploy.bench.table import as_text
    from deploy.cli.output import result, view
    from deploy.workflow.bench import Order, judge
    from deploy.workflow.bench import bench as measured

    suites = _known(given["suites"])
    order = Order(suites, given["out"], _wish(given), given["model"], _own(suites, given))
    with view(quiet=given["quiet"] or given["as_json"]) as shown, _place(given) as place:
        runs = result(measured(order, place), shown)
    if given["as_json"]:
        click.echo("[" + ",\n".join(as_json(one).strip() for one in runs) + "]")
    else:
        click.echo("\n".join(as_text(one) for one in runs), nl=False)
    judge(runs, order.out)


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    from deploy.bench.suite import SUITES

    for name in names:
        if name not in SUITES:
            raise click.UsageError(f"no such suite: {name} (one of {', '.join(SUITES)})")
    return tuple(dict.fromkeys(names))


def _wish(given: dict[str, Any]) -> Any:
    from deploy.bench.suite import Wish

    lengths = tuple(sorted(map(int, _numbers("--lengths", given["lengths"]))))
    seed = secrets.randbelow(MOST) if given["seed"] is None else given["seed"]
    roofline = None
    if given["roofline"]:
        from deploy.bench.fit import Roofline

        numbers = _numbers("--roofline", given["roofline"])
        if len(numbers) != 3:
            raise click.UsageError("--roofline: give three numbers: GB of weights, KB a token, GB/s")
        roofline = Roofline(numbers[0] * 1e9, numbers[1] * 1e3, numbers[2] * 1e9)
    return Wish(given["repeats"], seed, given["tokens"], lengths, roofline, _sweep(given))


def _sweep(given: dict[str, Any]) -> Any:
    from deploy.bench.suite import Sweep

    found = Sweep(requests=given["requests"], tokenizer=given["tokenizer"])
    if given["concurrency"]:
        numbers = () if given["concurrency"] == "0" else _numbers("--concurrency", given["concurrency"])
        found = replace(found, concurrency=tuple(sorted(map(int, numbers))))
    if given["rates"]:
        numbers = () if given["rates"] == "0" else _numbers("--rates", given["rates"])
        found = replace(found, rates=tuple(sorted(numbers)))
    return found


def _own(suites: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """`kernels`, where it is asked for: the model and the versions are those of cluster.yaml, where it is."""
    if "kernels" not in suites:
        return {}
    from deploy.cli.measuring import order_of
    from deploy.workflow.kernel_suite import names_of, suite

    nothing = ("sglang", "triton", "tp", "ep", "experts", "intermediate", "hidden", "top_k", "dtype", "block")
    flags = {"unfused": False, "emulate": False, "local": True, "per_channel": None, "journal": None}
    words = {"batch_size": (), "routing_skew": 0.0, "topk_ids_dir": "", "gpu": "GB10"}
    asked = {**dict.fromkeys(nothing), **flags, **words, "nodes": given["path"], "model": given["model"] or None}
    order = order_of(asked)
    return {"kernels": suite(order, given["tables"] or names_of(order))}


def _numbers(option: str, words: str) -> list[float]:
    try:
        found = [float(word) for word in words.split(",") if word]
    except ValueError:
        raise click.UsageError(f"{option}: no list of numbers: {words}") from None
    if any(number <= 0 for number in found):
        raise click.UsageError(f"{option}: every number is above 0")
    return found


def _place(given: dict[str, Any]) -> AbstractContextManager[Place]:
    """The server that is meant. Raises ConfigError."""
    from deploy.bench.client import Target
    from deploy.workflow.bench import NOWHERE, Place, at_nodes

    if set(given["suites"]) == {"kernels"}:
        return nullcontext(Place(Target(NOWHERE)))
    if bool(given["url"]) == bool(given["path"]):
        raise click.UsageError("give either --url or --nodes")
    if given["path"]:
        if given["key_env"]:
            raise click.UsageError("--key-env goes with --url: with --nodes, cluster.yaml's api_key names the variable")
        from deploy.cluster.load import load

        return at_nodes(load(given["path"]), os.environ, given["patience"], options.holder("bench run"))
    return nullcontext(Place(Target(given["url"], _key(given["key_env"]), given["patience"])))


def _key(name: str | None) -> str:
    from deploy.workflow.asked import KEY

    if not name:
        return ""
    if not os.environ.get(name):
        raise click.UsageError(f"--key-env: {name} is not set in your shell")
    if not KEY.fullmatch(os.environ[name]):
        raise click.UsageError(f"--key-env: the value of {name} cannot be a key: visible ASCII alone goes through HTTP")
    return os.environ[name]
