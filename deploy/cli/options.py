"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
import socket
import time

import click

nodes = click.option(
    "--nodes", "path", default="cluster.yaml", show_default=True, metavar="FILE", help="The cluster to work on."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
allow_unsafe = click.option(
    "--allow-unsafe",
    is_flag=True,
    help="Take kernel tables that cannot run; a label says so. The same as unsafe-table in image.allow.",
)

with_tune = click.option(
    "--with-tune", is_flag=True, help="The image that `tune` runs: the same, with Ray and the tuner on top."
)

with_sets = click.option(
    "--with",
    "sets",
    multiple=True,
    metavar="SET",
    help="The image with this optional set of patches too, as image.patches says for good; can be repeated.",
)

key_password = click.option(
    "--key-password",
    "variable",
    default="COSIGN_PASSWORD",
    show_default=True,
    metavar="NAME",
    help="The variable that holds the password of the key.",
)
keyless = click.option("--keyless", is_flag=True, help="Sign by an identity, with the command `cosign`.")


def holder(verb: str) -> str:
    """Who takes a cluster's lock, for the next one to read."""
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"`{verb}` of {getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}, since {now}"
