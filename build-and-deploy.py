#!/usr/bin/env python3
"""Start the command line, in the project's own environment where there is one."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv" / "bin" / "python"

NEEDED = ("click", "docker", "fabric", "jinja2", "pydantic", "rich", "yaml")

if any(find_spec(name) is None for name in NEEDED):
    if ENVIRONMENT.exists() and Path(sys.prefix) != ENVIRONMENT.parent.parent:
        os.execv(ENVIRONMENT, [str(ENVIRONMENT), *sys.argv])
    sys.exit(f"{Path(__file__).name}: its environment is missing; `make environment` in {ROOT} makes it")

sys.path.insert(0, str(ROOT))
from deploy.cli import main  # noqa: E402

main()
