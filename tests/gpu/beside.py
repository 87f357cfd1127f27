"""The `openai` package beside the toolkit's client on one server: tokens by `usage` of both, and their CPU cost.

    python3 -m tests.gpu.beside FILE URL

FILE gets a line of JSON for each answer of either, as tests/gpu/heard.py writes them; the costs go to stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deploy.bench.client import Target
from deploy.bench.facts import learn
from deploy.bench.suite import Setting, Wish
from tests.gpu.heard import listen

PROMPTS = ("Tell of a bridge.", "Count to ten, slowly.", "Write a loop that ends.")
TOKENS = 96


def by_openai(url: str, model: str, prompt: str) -> dict[str, Any]:
    """One streamed answer as the package reads it."""
    from openai import OpenAI

    chunks, usage, name = 0, None, ""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": prompt}]
        options: Any = {"include_usage": True}
        create: Any = client.chat.completions.create
        asked = {"model": model, "messages": messages, "temperature": 0, "max_tokens": TOKENS}
        for chunk in create(**asked, stream=True, stream_options=options, extra_body={"ignore_eos": True}):
            name, usage, chunks = chunk.id, chunk.usage or usage, chunks + bool(chunk.choices)
    assert usage is not None
    return {
        "by": "openai",
        "id": name,
        "streamed": True,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "chunks": [],
        "failure": "",
    }


def main() -> None:
    """Both clients with the same prompts, and then the cost of a chunk for each, in turns."""
    file, url = Path(sys.argv[1]), sys.argv[2]
    listen(file)
    setting = Setting(Target(url, patience=60), learn(Target(url, patience=60)), Wish())
    for prompt in PROMPTS:
        setting.stream([{"role": "user", "content": prompt}], max_tokens=TOKENS, extra={"ignore_eos": True})
        with file.open("a") as lines:
            lines.write(json.dumps(by_openai(url, setting.facts.server.model, prompt)) + "\n")
    from benchmarks.truth import costs

    ours, theirs, bare = costs(url, setting)
    found = {"client_us_per_chunk": ours, "openai_us_per_chunk": theirs, "bare_us_per_chunk": bare}
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


if __name__ == "__main__":
    main()
