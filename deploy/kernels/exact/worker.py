"""A process that compiles kernels one after another: a line of JSON in, a line of JSON out. Ends with its input.

python -m deploy.kernels.exact.worker SOURCE ARCH LIMIT
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.kernels.exact.kernel import from_json

if TYPE_CHECKING:
    from deploy.kernels.exact.compile import Compiler

LONGEST = 2000
"""Characters of an error that travel; Triton's can hold a whole program."""


def answer(compiler: Compiler, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the compiler found, or why it did not compile: a refused kernel is an answer, not the end."""
    try:
        return compiler.compile(from_json(request["kernel"]), request["lowering"], request["only_shared"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:LONGEST]}


def main() -> int:
    """Answer until the input ends."""
    source, arch, limit = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Triton and ptxas may print; only answers go to the parent

    from deploy.kernels.exact.compile import Compiler

    compiler = Compiler(Path(source), int(arch), int(limit))
    for line in sys.stdin:
        answers.write(json.dumps(answer(compiler, json.loads(line))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
