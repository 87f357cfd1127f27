"""bench_serving's command line and output file; nothing is started."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from deploy.bench import serving
from deploy.bench.client import Target
from deploy.bench.facts import Facts
from deploy.bench.metrics import FIGURES
from deploy.bench.results import Server as Known
from deploy.bench.serving import Point, Server, arguments, environment, program, read
from deploy.bench.suite import Setting, Sweep, Wish
from deploy.bench.suites.load import server_of, sweep, texts
from deploy.errors import BenchError

HERE = Server("http://10.0.0.1:30000", "m", "sglang", "org/m")
POINT = Point(math.inf, 4, 16, 512, 256, 7)
TOLD = {
    "completed": 2, "errors": ["", ""], "total_input_tokens": 20, "total_output_tokens": 8, "output_throughput": 50.0,
    "median_ttft_ms": 250.0, "median_itl_ms": 10.0, "concurrency": 1.5, "accept_length": None,
}  # fmt: skip


def output(**more: Any) -> str:
    return json.dumps(TOLD | more) + "\n"


def test_milliseconds_become_seconds_and_what_it_does_not_have_is_left_out() -> None:
    found = read(output(accept_length=2.5), 2)
    assert found.ok
    assert found.figures == {
        "output_tok_s": 50,
        "ttft_s": 0.25,
        "itl_s": 0.01,
        "concurrency": 1.5,
        "accept_length": 2.5,
    }
    assert found.usage == {"prompt_tokens": 20, "completion_tokens": 8}
    assert "accept_length" not in read(output(), 2).figures


def test_every_figure_has_a_unit() -> None:
    assert set(serving.FIGURES) <= set(FIGURES)


def test_one_failed_request_makes_the_run_a_failure_without_figures() -> None:
    found = read(output(completed=1, errors=["", "Traceback\nValueError: no"]), 2)
    assert (found.ok, found.kind, found.figures) == (False, "failed", {})
    assert found.error == "1 of 2 requests failed: ValueError: no"


def test_requests_that_all_found_nobody_say_that_the_server_is_lost() -> None:
    why = "aiohttp.ClientConnectorError: Cannot connect to host 10.0.0.1:30000"
    assert read(output(completed=0, errors=[why, why]), 2).kind == "refused"
    assert read(output(completed=1, errors=[why, ""]), 2).kind == "failed"


def test_no_output_is_a_failure_with_its_last_words() -> None:
    found = read("", 2, "ValueError: Warmup failed")
    assert not found.ok
    assert "Warmup failed" in found.error
    assert read("{half a li", 2).error.endswith("it said nothing")


def test_its_words_name_model_rate_and_bound() -> None:
    words = arguments(HERE, POINT, Path("t.json"), Path("o.jsonl"))
    pairs = dict(itertools.pairwise(words))
    assert (pairs["--served-model-name"], pairs["--tokenizer"], pairs["--request-rate"]) == ("m", "org/m", "inf")
    assert (pairs["--max-concurrency"], pairs["--random-range-ratio"]) == ("4", "1.0")
    assert "--flush-cache" in words
    unbound = arguments(Server("u", "m", "vllm", "t"), Point(2.0, 0, 16, 512, 256, 7), Path("t"), Path("o"))
    assert not {"--max-concurrency", "--flush-cache"} & set(unbound)


def test_the_key_goes_by_the_environment_and_no_foreign_key_does(tmp_path: Path) -> None:
    assert environment({"OPENAI_API_KEY": "theirs"}, HERE).get("OPENAI_API_KEY") is None
    keyed = Server("u", "m", "sglang", str(tmp_path), "ours")
    assert environment({"OPENAI_API_KEY": "theirs"}, keyed)["OPENAI_API_KEY"] == "ours"
    assert "ours" not in arguments(keyed, POINT, tmp_path, tmp_path)
    assert environment({}, keyed)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment({}, HERE)


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "NEEDS", ("json", "no_such_package_here"))
    with pytest.raises(BenchError, match="no_such_package_here") as caught:
        program()
    assert "[bench]" in caught.value.hint


def test_a_sweep_has_a_case_for_each_concurrency_and_rate() -> None:
    found = sweep(Wish(5, 1, 64, (128,), sweep=Sweep((1, 32), (0.5,))))
    assert [name for name, _, _ in found] == ["1 at a time", "32 at a time", "0.5 a second"]
    assert [(one.requests, one.concurrency, one.rate) for _, _, one in found] == [
        (16, 1, math.inf),
        (128, 32, math.inf),
        (16, 0, 0.5),
    ]
    assert {(one.prompt, one.output) for _, _, one in found} == {(128, 64)}


def test_every_text_is_longer_than_its_prompt_and_begins_alone() -> None:
    said = [one["conversations"][0]["value"] for one in json.loads(texts(POINT, "a"))]
    assert len(said) == POINT.requests == len({one[:40] for one in said})
    assert min(map(len, said)) > 5 * POINT.prompt
    assert texts(POINT, "a") == texts(POINT, "a") != texts(POINT, "b")


def test_a_server_behind_ssh_is_refused_and_another_engine_is_asked_in_openais_way() -> None:
    known = Known("http://h:1/v1", "m", "vllm")
    assert server_of(Setting(Target("http://h:1/v1"), Facts(known), Wish())) == Server("http://h:1", "m", "vllm", "m")
    with pytest.raises(BenchError, match="SSH"):
        server_of(Setting(Target("http://h:1", dial=lambda _: None), Facts(known), Wish()))
