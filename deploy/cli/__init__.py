"""The command line: a lazy group, so that `--help` imports no room; and the one place where errors are shown."""

from __future__ import annotations

import importlib
import sys

import click

from deploy import __version__
from deploy.cli.interruption import Interruption
from deploy.errors import DeployError

COMMANDS = {
    "render": ("image", "Write the Dockerfile, or check that the committed one is true."),
    "build": ("image", "Build the image on top of the base."),
    "push": ("image", "Push the image to its repository."),
    "image": ("supply", "Sign and verify images, and attach what they are made of."),
    "mirror": ("image", "Copy the base into your own repository."),
    "patches": ("patches", "Apply the changes to SGLang to a tree, or look for them in a tree or an image."),
    "model": ("model", "Fetch, check and remove the model's weights on the nodes."),
    "doctor": ("doctor", "Check what a launch needs, on every node; change nothing."),
    "up": ("cluster", "Start the ranks and wait until they serve."),
    "watch": ("watch", "Watch running ranks, as a service of this machine."),
    "status": ("cluster", "Show every rank as it is now."),
    "logs": ("cluster", "Show what the ranks say."),
    "ask": ("cluster", "Ask the server one question and show the answer as it comes."),
    "down": ("cluster", "Stop and remove every rank."),
    "kernels": ("kernels", "Check, show and import kernel tables."),
    "tune": ("tune", "Make kernel tables by measuring, on one GPU or many."),
    "bench": ("bench", "Measure a server: speed by context, thinking, tool calls."),
    "lab": ("lab", "Four local nodes on which all of this runs."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and summary, and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"deploy.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sglang-spark")
def cli() -> None:
    """Four NVIDIA DGX Sparks as one SGLang server for GLM-4.7-FP8."""


def main() -> None:
    """Run the command line; exit codes are those of deploy/errors.py, 130 on Ctrl-C."""
    Interruption().listen()
    try:
        code = cli.main(prog_name="build-and-deploy.py", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except DeployError as error:
        code = show(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def show(error: DeployError) -> int:
    """The error and its hint, once, on stderr."""
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True)
    if error.hint:
        click.echo(click.style("hint: ", fg="cyan") + error.hint, err=True)
    return error.exit_code
