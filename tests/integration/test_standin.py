"""The stand-in engine as real processes over real sockets: start, health, answers, tool calls, and every way to end."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.milestones import milestones, start
from tests.gpu.ranks import Rank, answer, running, until
from tests.integration.standin import launches, site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
SECONDS = 20
READY = ("The server is fired up and ready to roll!", "Dummy health check server started in background thread")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"}},
        },
    },
}
ASKED = "What will the weather in Lisbon be for 3 days?"
Start = Callable[..., AbstractContextManager[list[Rank]]]


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed tree of SGLang, patched, with the stand-in."""
    return site("0.5.4.post2", tmp_path_factory.mktemp("site"))


@pytest.fixture
def begin(where: Path, tmp_path: Path) -> Start:
    """Starts so many ranks with further flags and settings."""

    def started(nodes: int, *flags: str, **env: str) -> AbstractContextManager[list[Rank]]:
        return running(launches(where, nodes, *flags, env=env), tmp_path)

    return started


@pytest.fixture(scope="module")
def four(where: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rank]]:
    """Four ranks that are ready, for tests that leave them as they are."""
    with running(launches(where, 4, "--api-key", "k"), tmp_path_factory.mktemp("four")) as ranks:
        ready(ranks)
        yield ranks


def ready(ranks: list[Rank]) -> None:
    """Wait until every rank says that it is ready."""
    assert until(lambda: all(rank.says(READY[rank.launch.rank > 0]) for rank in ranks), SECONDS), [
        rank.lines[-5:] for rank in ranks
    ]


def heard(rank: Rank, fragment: str) -> bool:
    """Whether the log says so; its last lines may still be on their way."""
    return until(lambda: rank.says(fragment), 3)


def gone(ranks: list[Rank], seconds: float = SECONDS) -> list[int]:
    """Wait until every rank has left; their exit codes."""
    assert until(lambda: all(rank.exit for rank in ranks), seconds), [rank.exit for rank in ranks]
    return [rank.exit[1] for rank in ranks if rank.exit]


def order(rank: Rank) -> list[str]:
    """Names and details of the start's milestones."""
    return [" ".join((one.name, one.detail)).strip() for one in start(milestones(rank.lines))]


def post(rank: Rank, path: str, body: dict[str, Any], key: str = "k") -> str:
    """The text of the answer to a JSON body."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{rank.launch.port}{path}"
    with urllib.request.urlopen(
        urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=30
    ) as response:
        return str(response.read().decode())


def chat(rank: Rank, text: str, **more: Any) -> Any:
    """The message, or the chunks of a streamed one."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    told = post(rank, "/v1/chat/completions", body)
    if not more.get("stream"):
        return json.loads(told)
    return [json.loads(line[6:]) for line in told.split("\n") if line.startswith("data: {")]


TABLE = "triton_3_5_0/E=160,N=384,device_name=NVIDIA_GB10,dtype=fp8_w8a8{}.json"
TARGET = ["init-begin", "init-end", "load-begin", "load-end Glm4MoeForCausalLM", "kv-cache", "pool-end", "graph-begin"]
TABLES = [f"table-default {TABLE.format('')}", f"table-default {TABLE.format('_down')}", "graph-end"]
DRAFT = ["init-begin", "init-end", "load-begin", "load-end Glm4MoeForCausalLMNextN", "kv-cache", "pool-end"]
GRAPHS = ["graph-begin draft", "graph-end draft", "graph-begin draft extend", "graph-end draft extend"]


def test_a_worker_says_the_lines_of_a_start_in_order(four: list[Rank]) -> None:
    assert order(four[2]) == [*TARGET, *TABLES, *DRAFT, *GRAPHS, "worker-ready"]
    assert heard(four[2], "TP2] Init torch distributed begin.")


def test_rank_0_says_shards_and_ends_with_its_own_lines(four: list[Rank]) -> None:
    with_shards = [*TARGET[:3], "shards", *TARGET[3:]]
    assert order(four[0]) == [*with_shards, *TABLES, *DRAFT, *GRAPHS, "tokens", "http", "ready"]
    assert heard(four[0], "Loading safetensors checkpoint shards: 100% Completed | 92/92")
    assert "stand-in" in four[0].lines[0][1]


def test_only_rank_0_has_the_api_and_all_have_health(four: list[Rank]) -> None:
    for rank in four:
        assert answer(rank.launch.port, "/health", 5) == 200
        assert answer(rank.launch.port, "/health_generate", 5) == 200
        assert answer(rank.launch.port, "/v1/models", 5) == (401 if rank is four[0] else 404)


def test_the_api_key_is_asked_for(four: list[Rank]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        post(four[0], "/generate", {"text": "a"}, key="wrong")


def test_a_stream_has_fewer_chunks_than_tokens_and_its_usage_at_the_end(four: list[Rank]) -> None:
    chunks = chat(four[0], "hello world", stream=True, stream_options={"include_usage": True}, max_tokens=24)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas[0]["role"] == "assistant"
    usage = chunks[-1]["usage"]
    assert chunks[-1]["choices"] == []
    assert usage["completion_tokens"] == 24
    assert 4 < sum(bool(delta.get("content") or delta.get("reasoning_content")) for delta in deltas) < 24
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["length"]


def test_a_whole_answer_is_what_a_stream_adds_up_to(four: list[Rank]) -> None:
    whole = chat(four[0], "hello world")["choices"][0]["message"]["content"]
    chunks = chat(four[0], "hello world", stream=True)
    assert whole == "".join(c["delta"]["content"] or "" for chunk in chunks for c in chunk["choices"])


def test_a_tool_call_comes_parsed_whole_and_streamed(four: list[Rank]) -> None:
    expected = {"city": "Lisbon", "days": 3, "exact": True}
    choice = chat(four[0], ASKED, tools=[WEATHER])["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    function = choice["message"]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", expected)
    parts = [
        call["function"]
        for chunk in chat(four[0], ASKED, tools=[WEATHER], stream=True)
        for one in chunk["choices"]
        for call in one["delta"]["tool_calls"] or []
    ]
    assert [part["name"] for part in parts if part["name"]] == ["get_weather"]
    assert json.loads("".join(part["arguments"] or "" for part in parts)) == expected


@pytest.mark.parametrize("stream", [False, True])
def test_a_demanded_tool_is_called_though_nothing_names_it(four: list[Rank], stream: bool) -> None:
    told = chat(four[0], "hello", tools=[WEATHER], tool_choice="required", stream=stream)
    assert "get_weather" in json.dumps(told)


def test_a_tools_result_is_answered_in_words(four: list[Rank]) -> None:
    messages = [{"role": "user", "content": ASKED}, {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    told = json.loads(post(four[0], "/v1/chat/completions", {"model": "m", "messages": messages, "tools": [WEATHER]}))
    assert told["choices"][0]["message"]["tool_calls"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_thought_comes_apart_from_the_answer_unless_it_is_switched_off(four: list[Rank], stream: bool) -> None:
    for kwargs, thought in ((None, "The stand-in has no model to think with."), ({"enable_thinking": False}, "")):
        told = chat(four[0], "hello", stream=stream, chat_template_kwargs=kwargs)
        parts = [one for chunk in (told if stream else [told]) for one in chunk["choices"]]
        said = [part["delta" if stream else "message"] for part in parts]
        assert "".join(one.get("reasoning_content") or "" for one in said) == thought
        content = "".join(one["content"] or "" for one in said)
        assert content.startswith("This is the lab's stand-in")
        assert "</think>" not in content


def test_the_parser_has_an_endpoint_of_its_own(four: list[Rank]) -> None:
    text = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Porto</arg_value></tool_call>"
    body = {"text": text, "tools": [WEATHER], "tool_call_parser": "glm47"}
    told = json.loads(post(four[0], "/parse_function_call", body))
    assert [(one["name"], json.loads(one["parameters"])) for one in told["calls"]] == [
        ("get_weather", {"city": "Porto"})
    ]


def test_generate_counts_accepted_tokens_and_a_flush_forgets_them(four: list[Rank]) -> None:
    told = json.loads(post(four[0], "/generate", {"text": "a b", "sampling_params": {"max_new_tokens": 16}}))
    assert told["meta_info"]["completion_tokens"] == 16
    assert 1 <= told["meta_info"]["spec_accept_length"] <= 4
    post(four[0], "/flush_cache", {})
    headers = {"Authorization": "Bearer k"}
    url = f"http://127.0.0.1:{four[0].launch.port}/get_server_info"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
        assert json.loads(response.read())["version"] == "0.5.4.post2"


def test_text_completions_are_streamed_too(four: list[Rank]) -> None:
    body = {"model": "m", "prompt": "a b", "max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
    data = [line for line in post(four[0], "/v1/completions", body).split("\n") if line]
    assert data[-1] == "data: [DONE]"
    assert json.loads(data[-2][6:])["usage"]["completion_tokens"] == 8


def test_a_request_that_is_none_is_refused(four: list[Rank]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(four[0], "/v1/chat/completions", {"model": "m", "messages": "no"})


@pytest.mark.parametrize("nodes", [1, 2])
def test_one_and_two_ranks_serve_alike(begin: Start, nodes: int) -> None:
    with begin(nodes) as ranks:
        ready(ranks)
        assert chat(ranks[0], "hello")["choices"][0]["finish_reason"] == "stop"
        assert ranks[0].says("TP0]") == (nodes > 1)


def test_the_next_tree_is_taken_as_it_is(tmp_path: Path) -> None:
    with running(
        launches(site("0.5.4.post3", tmp_path / "site"), 1, "--kv-cache-dtype", "fp4_e2m1"), tmp_path
    ) as ranks:
        ready(ranks)
        assert chat(ranks[0], ASKED, tools=[WEATHER])["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("number", [0, 2])
def test_a_killed_rank_takes_all_with_it(begin: Start, number: int) -> None:
    with begin(4, STANDIN_DEATH_SECONDS="1") as ranks:
        ready(ranks)
        ranks[number].signal(signal.SIGKILL)
        assert gone(ranks, 9) == [-9] * 4
        assert heard(ranks[1], "Scheduler hit an exception")
        assert number == 0 or heard(ranks[0], "SIGQUIT received")
        assert heard(ranks[1], "Received sigquit from a child process")


def test_a_frozen_rank_is_seen_on_rank_0_alone(begin: Start) -> None:
    with begin(4, STANDIN_HEALTH_TIMEOUT="2") as ranks:
        ready(ranks)
        ranks[2].signal(signal.SIGSTOP)
        port = ranks[0].launch.port
        assert until(lambda: answer(port, "/health", 10) == 503, SECONDS)
        assert heard(
            ranks[0], "Health check failed. Server couldn't get a response from detokenizer for last 2 seconds"
        )
        assert [answer(ranks[number].launch.port, "/health", 2) for number in (1, 2, 3)] == [200, "timeout", 200]
        assert not any(rank.exit for rank in ranks)
        ranks[2].signal(signal.SIGCONT)
        assert until(lambda: answer(port, "/health", 10) == 200, SECONDS)


def test_sigterm_ends_a_worker_at_once_and_rank_0_within_seconds(begin: Start) -> None:
    with begin(2) as ranks:
        ready(ranks)
        for rank in ranks:
            rank.signal(signal.SIGTERM)
        assert gone(ranks) == [-9, -15]


def test_ranks_that_do_not_meet_in_time_leave(begin: Start, where: Path, tmp_path: Path) -> None:
    made = launches(where, 4, "--dist-timeout", "2")
    with running([made[0], made[2]], tmp_path) as ranks:
        assert gone(ranks, 8) == [-9, -9]
        assert heard(ranks[0], "Timed out after 2 seconds waiting for clients. 2/4 clients joined.")


def test_a_worker_without_rank_0_leaves(where: Path, tmp_path: Path) -> None:
    with running([launches(where, 2, "--dist-timeout", "1")[1]], tmp_path) as ranks:
        assert gone(ranks, 8) == [-9]
        assert heard(ranks[0], "The client socket has timed out after 1000ms")


def test_a_stranger_at_the_rendezvous_changes_nothing(where: Path, tmp_path: Path) -> None:
    made = launches(where, 2)
    meeting = int(made[0].argv[-1].rpartition(":")[2])
    with running(made[:1], tmp_path / "head") as head:
        assert until(lambda: knocked(meeting), SECONDS)
        with running(made[1:], tmp_path / "worker") as worker:
            ready([*head, *worker])


def knocked(port: int) -> bool:
    """Connect to a port and say nothing sensible; False where nobody listens yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize("phase", ["start", "join", "load", "graphs", "ready", "after:1.5"])
def test_a_rank_dies_where_it_is_told_to_and_the_other_follows(begin: Start, phase: str) -> None:
    env = {"STANDIN_DIE_AT": f"{phase}:1:7", "STANDIN_DEATH_SECONDS": "0.2", "STANDIN_LOAD_SECONDS": "1"}
    with begin(2, "--dist-timeout", "3", **env) as ranks:
        assert gone(ranks) == [-9, 7]
        assert heard(ranks[1], "Scheduler hit an exception")


def test_a_rank_that_hangs_keeps_the_others_waiting(begin: Start) -> None:
    with begin(2, STANDIN_HANG_AT="load:1") as ranks:
        assert not until(lambda: any(rank.healthy() or rank.exit for rank in ranks), 3)
        assert heard(ranks[0], "Load weight begin")


def test_a_rank_that_hangs_before_the_first_request_keeps_rank_0_from_being_ready(begin: Start) -> None:
    with begin(2, STANDIN_HANG_AT="ready:1") as ranks:
        assert until(lambda: answer(ranks[0].launch.port, "/health", 2) == 503, SECONDS)
        assert until(lambda: ranks[1].healthy(), SECONDS)
        assert not until(lambda: ranks[0].healthy(), 1)


def test_faults_are_ordered_by_a_file_while_it_serves(begin: Start, tmp_path: Path) -> None:
    order = tmp_path / "order"
    with begin(1, STANDIN_FAULT_FILE=str(order)) as ranks:
        ready(ranks)
        assert until(lambda: load(ranks[0]) == (0, 0), SECONDS)
        order.write_text("garbage")
        assert until(lambda: set(chat(ranks[0], "hi")["choices"][0]["message"]["reasoning_content"]) == {"!"}, SECONDS)
        order.write_text("wedge")
        assert until(lambda: ranks[0].says("told to: wedge"), SECONDS)
        with ThreadPoolExecutor(1) as asking:
            held = asking.submit(chat, ranks[0], "hi")
            assert until(lambda: load(ranks[0])[0] == 1, SECONDS)
            seen = load(ranks[0])
            assert answer(ranks[0].launch.port, "/health", 5) == 200
            assert load(ranks[0]) == seen
            order.unlink()
            assert held.result(SECONDS)["choices"]
        order.write_text("die:7")
        assert gone(ranks) == [7]


def load(rank: Rank) -> tuple[int, int]:
    """Requests and tokens that rank 0 tells of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rank.launch.port}/get_load", timeout=5) as response:
        found = json.loads(response.read())
    return found[0]["num_reqs"], found[0]["num_tokens"]


def test_a_rank_that_hangs_later_is_seen_on_rank_0(begin: Start) -> None:
    with begin(2, STANDIN_HANG_AT="after:3:1", STANDIN_HEALTH_TIMEOUT="2") as ranks:
        ready(ranks)
        assert until(lambda: ranks[0].says("Health check failed"), SECONDS)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--no-such-flag",), "unrecognized arguments: --no-such-flag"),
        (("--tool-call-parser", "glm48"), "invalid choice: 'glm48'"),
        (("--tp", "three"), "invalid int value"),
    ],
)
def test_flags_that_sglang_refuses_are_refused(begin: Start, flags: tuple[str, ...], says: str) -> None:
    with begin(1, *flags) as ranks:
        assert gone(ranks) == [2]
        assert heard(ranks[0], says)


def test_tp_that_does_not_fit_is_refused(begin: Start) -> None:
    with begin(2, "--tp", "3") as ranks:
        assert gone(ranks) == [1, 1]
        assert heard(ranks[0], "tp_size must be divisible by number of nodes")


def test_a_setting_that_cannot_be_read_is_refused(begin: Start) -> None:
    with begin(1, STANDIN_DIE_AT="lunch") as ranks:
        assert gone(ranks) == [2]
        assert heard(ranks[0], "no such phase: lunch")


def test_a_port_in_use_ends_the_rank(where: Path, tmp_path: Path) -> None:
    made = launches(where, 1)
    with socket.create_server(("127.0.0.1", made[0].port)), running(made, tmp_path) as ranks:
        assert gone(ranks) == [1]
        assert heard(ranks[0], "error while attempting to bind on address")


def tables(folder: Path, up: int, down: int) -> None:
    """A pair of kernel tables with these sizes of BLOCK_SIZE_M."""
    place = folder / "configs" / "triton_3_5_0"
    place.mkdir(parents=True)
    for end, size in (("", up), ("_down", down)):
        name = f"E=160,N=1536,device_name=NVIDIA_GB10,dtype=fp8_w8a8{end}.json"
        (place / name).write_text(json.dumps({"1": {"BLOCK_SIZE_M": size}}))


def test_tuned_tables_are_found_and_said(begin: Start, tmp_path: Path) -> None:
    tables(tmp_path / "moe", 16, 16)
    with begin(1, SGLANG_MOE_CONFIG_DIR=str(tmp_path / "moe")) as ranks:
        ready(ranks)
        assert sum("Using MoE kernel config from" in text for _, text in ranks[0].lines) == 2


def test_tables_that_do_not_pair_end_the_rank(begin: Start, tmp_path: Path) -> None:
    tables(tmp_path / "moe", 16, 32)
    with begin(1, SGLANG_MOE_CONFIG_DIR=str(tmp_path / "moe")) as ranks:
        assert gone(ranks) == [-9]
        assert heard(ranks[0], "AssertionError")


def test_sglangs_own_default_crashes_where_speculation_makes_large_batches(begin: Start, tmp_path: Path) -> None:
    without = {"SGLANG_MOE_CONFIG_DIR": str(tmp_path / "none")}
    with begin(1, **without, SGLANG_SPARK_MOE_DEFAULT="upstream") as ranks:
        assert gone(ranks) == [-9]
        assert heard(
            ranks[0], "OutOfResources: out of resource: shared memory, Required: 147456, Hardware limit: 101376"
        )
    with begin(1, **without) as ranks:
        ready(ranks)
