#!/bin/sh
# The main job from nothing to nothing, on the lab: each command is shown, then run as a user would run it.
set -eu
PYTHON=${PYTHON:-.venv/bin/python}
CLUSTER=.lab/cluster.yaml
export DOCKER_CONFIG="$PWD/.lab/docker"
TOOLS=.lab/tools.json
began=$(date +%s)

show() { printf '\n\033[1m$ python build-and-deploy.py %s\033[0m\n' "$*"; "$PYTHON" build-and-deploy.py "$@"; }
# Whatever happens, nothing is left running.
finish() { code=$?; trap - EXIT INT TERM; [ "$code" -eq 0 ] || "$PYTHON" build-and-deploy.py lab down || true; exit "$code"; }
trap finish EXIT
trap 'exit 130' INT TERM

show lab up --nodes 4
show build --push --nodes "$CLUSTER"
show up --nodes "$CLUSTER"
show ask "What do you stand in for?" --nodes "$CLUSTER"
cat > "$TOOLS" <<'JSON'
[{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city",
  "parameters": {"type": "object", "required": ["city", "days"], "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}]
JSON
show ask "get_weather in Lisbon for 3 days" --tools "$TOOLS" --nodes "$CLUSTER"
show status --nodes "$CLUSTER"
show down --nodes "$CLUSTER"
show lab down
printf '\nThe whole job took %s seconds.\n' "$(($(date +%s) - began))"
