"""How answers, results and the engine's log are held against each other; on lines as the engine writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.bench.client import CHAT
from tests.gpu.counts import by_load, by_repeat, by_request, counted, totals
from tests.gpu.heard import told
from tests.gpu.lives import LIVES, launch, words
from tests.unit.bench.answers import DONE, event, raw


def finished(name: str, prompt: int, said: int, **more: Any) -> str:
    meta = {"id": name, "prompt_tokens": prompt, "completion_tokens": said, **more}
    return "[2026-11-21 10:00:00] " + json.dumps({"event": "request.finished", "out": {"meta_info": meta}})


LOG = [
    (1.0, "[2026-11-21 10:00:00] Decode batch, #running-req: 1, accept len: 2.50, accept rate: 0.21, cuda graph: True"),
    (1.1, finished("a", 9, 20, spec_verify_ct=8, spec_num_correct_drafts=12, spec_accept_length=2.5)),
    (1.2, finished("warm", 4, 4)),
    (1.3, finished("b", 5, 6)),
    (1.4, finished("c", 6, 6)),
]
HEARD = [
    {"id": "a", "prompt_tokens": 9, "completion_tokens": 20, "chunks": [0.1, 0.2], "failure": ""},
    {"id": "b", "prompt_tokens": 5, "completion_tokens": 7, "chunks": [0.3], "failure": ""},
    {"id": "lost", "prompt_tokens": 1, "completion_tokens": 1, "chunks": [], "failure": "cut"},
]


def test_the_engine_s_own_count_is_read_from_its_log() -> None:
    first, second, *_ = counted(LOG)
    assert (first.id, first.prompt_tokens, first.completion_tokens, first.length, first.logged) == (
        *("a", 9, 20, 2.5),
        (2.5,),
    )
    assert (second.length, second.logged, second.at) == (None, (), 1.2)


def test_an_answer_that_was_counted_otherwise_is_named_and_one_without_a_partner_is_not_found() -> None:
    seen = by_request(HEARD, counted(LOG))
    assert (seen["requests"], seen["found"], seen["failed"]) == (3, 2, 1)
    assert seen["unequal"] == [{"id": "b", "prompt_tokens": [5, 5], "completion_tokens": [7, 6]}]
    assert seen["ours"] == {"prompt_tokens": 14, "completion_tokens": 27}


def test_a_repeat_is_the_next_answer_with_its_tokens_and_times() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 20}
    repeats = [{"chunks": [0.1, 0.2], "usage": usage, "figures": {"accept_length": 2.4}}]
    seen = by_repeat({"cases": [{"name": "one", "repeats": repeats}]}, HEARD, counted(LOG))
    assert (seen["repeats"], seen["found"], seen["unequal"]) == (1, 1, [])
    late = by_repeat({"cases": [{"name": "one", "repeats": [*repeats, *repeats]}]}, HEARD, counted(LOG))
    assert (late["repeats"], late["found"]) == (2, 1)
    expected = {"case": "one", "ours": 2.4, "engine": 2.5, "engine_told": 2.5, "engine_logged": 2.5, "verified": 8}
    assert seen["accept_length"] == [expected]


def test_a_load_s_own_requests_are_those_after_the_one_that_warms_up() -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 12}
    run = {"cases": [{"name": "1 at a time", "repeats": [{"ok": True, "usage": usage, "figures": {}}]}]}
    (row,) = by_load(run, 2, counted(LOG)[1:])
    assert row["requests"] == 2
    assert row["ours"] == row["engine"] == usage


def test_counters_are_added_up_over_their_labels() -> None:
    said = 'sglang:prompt_tokens_total{a="b"} 5.0\nsglang:prompt_tokens_total{a="c"} 2.0\n# HELP sglang:x\n'
    assert totals(said + "sglang:generation_tokens_total 3.0\n") == {"prompt_tokens": 7.0, "generation_tokens": 3.0}


def test_what_the_toolkit_read_of_a_chat_is_kept_and_nothing_else() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    part = event({"content": "a"}).replace(b'{"choices"', b'{"id": "x1", "choices"')
    answer = raw((0.1, part), (0.2, event({}, "stop")), (0.2, event(None, None, usage)), (0.2, DONE))
    kept = told(f'POST {CHAT} HTTP/1.1\r\n\r\n{{"stream": true}}'.encode(), answer)
    assert kept == {"id": "x1", "streamed": True, **usage, "chunks": [0.1], "failure": ""}
    assert told(b"GET /v1/models HTTP/1.1\r\n\r\n", answer) is None


def test_every_life_differs_from_what_up_gives_in_what_it_names_alone() -> None:
    argv = ["python3", "-m", "sglang.launch_server", "--tp", "1", "--port", "30000", "--speculative-algorithm", "EAGLE"]
    given = {"rank": 0, "argv": argv, "env": {}}
    made = {life.name: launch(life, at, given, Path("/s"), Path("/m"), False) for at, life in enumerate(LIVES)}
    assert len({one.port for one in made.values()}) == len(LIVES)
    assert [name for name, one in made.items() if "EAGLE" not in one.argv] == ["plain"]
    assert [name for name, one in made.items() if "--decode-log-interval" in one.argv] == ["eagle", "simulated"]
    assert made["simulated"].env["SGLANG_SIMULATE_ACC_LEN"] == "2.5"
    step = LIVES[0].steps[2]
    assert words(step, "http://h:1", Path("/m"), Path("/o"))[-2:] == ["--tokenizer", "/m"]
