"""The least that a launch can cost: a bare Fabric script that makes the calls of `up`, without asking anything.

Arguments: a JSON file with `identity`, `known_hosts` and, per host, the command lines to run one after another.
Prints one JSON object: seconds from the start of the process until the last command of every host has ended.
"""

import time

START = time.time()

import json  # noqa: E402
import sys  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from pathlib import Path  # noqa: E402

import fabric  # noqa: E402
import paramiko  # noqa: E402

SPEC = json.loads(Path(sys.argv[1]).read_text())


def launch(host: str) -> None:
    """Log in once and run every command of one host."""
    keys = {"key_filename": SPEC["identity"], "look_for_keys": False, "allow_agent": False}
    connection = fabric.Connection(host, user="root", connect_kwargs=keys)
    connection.client.load_host_keys(SPEC["known_hosts"])
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for command in SPEC["hosts"][host]:
        connection.run(command, hide=True, warn=True, in_stream=False)


with ThreadPoolExecutor(len(SPEC["hosts"])) as pool:
    list(pool.map(launch, SPEC["hosts"]))
print(json.dumps({"seconds": time.time() - START}))
