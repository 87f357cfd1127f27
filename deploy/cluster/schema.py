"""The JSON Schema of cluster.yaml for editors: `python -m deploy.cluster.schema` prints it."""

from __future__ import annotations

import json

from deploy.cluster.spec import Cluster


def schema() -> str:
    """JSON Schema 2020-12, as text with a newline at its end."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Cluster.model_json_schema()}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
