"""`bench run` as a process against a small server that fails on purpose: what is reported, kept, and the exit code."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.results import Run, from_json

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
ROOT = Path(__file__).resolve().parents[2]
TOKENS = 9
FAULT_AT = 3
"""The first case has two good repeats; the third timed request is the first of the second case."""


class Server(ThreadingHTTPServer):
    """Answers in words of one token, and plays `fault` at one timed request."""

    daemon_threads = True

    def __init__(self, fault: str) -> None:
        self.fault, self.timed = fault, 0
        self.reached, self.over = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        known = self.path == "/v1/models"
        self.send(200 if known else 404, {"data": [{"id": "m", "max_model_len": 4096}]} if known else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self.send(404, {})
            return
        self.server.timed += body["max_tokens"] == TOKENS
        struck = body["max_tokens"] == TOKENS and self.server.timed == FAULT_AT and self.server.fault
        if struck == "500":
            self.send(500, {"error": "out of memory"})
        elif body.get("stream"):
            self.stream(body["max_tokens"], struck)
        else:
            message = {"role": "assistant", "content": "a"}
            self.send(200, {"choices": [{"message": message, "finish_reason": "length"}], "usage": usage(1)})

    def send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, count: int, fault: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(count):
            if number == 4 and fault:
                self.strike(fault)
                return
            finish = "length" if number == count - 1 else None
            self.event(json.dumps({"choices": [{"delta": {"content": "a "}, "finish_reason": finish}]}))
        self.event(json.dumps({"choices": [], "usage": usage(count)}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def strike(self, fault: str) -> None:
        self.server.reached.set()
        if fault == "stall":
            self.server.over.wait(30)
        elif fault == "malformed":
            self.event('{"choices": [{"delta": ')
            self.wfile.write(b"0\r\n\r\n")
        elif fault == "unfinished":
            self.wfile.write(b"0\r\n\r\n")
        elif fault == "death":
            self.server.shutdown()
            self.server.server_close()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def event(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *args: object) -> None:
        pass


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": tokens}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()


def start(server: Server, out: Path) -> subprocess.Popen[str]:
    options = ["--lengths", "64,128", "--repeats", "2", "--tokens", str(TOKENS), "--patience", "1", "--seed", "1"]
    line = [sys.executable, "build-and-deploy.py", "bench", "run", "context", "--url", server.url, "--out", str(out)]
    return subprocess.Popen([*line, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kept(out: Path) -> Run:
    (file,) = out.glob("*.json")
    assert file.with_suffix(".csv").read_text().startswith("suite,case,figure")
    assert not list(out.glob("*.part"))
    return from_json(file.read_text(), str(file))


@pytest.mark.parametrize(
    ("server", "kind", "words"),
    [
        ("cut", "cut", "after 4 chunks"),
        ("stall", "stalled", "no byte for 1 s after 4 chunks"),
        ("500", "status", "500 Internal Server Error"),
        ("malformed", "malformed", "JSONDecodeError"),
        ("unfinished", "unfinished", "without finish_reason and [DONE]"),
    ],
    indirect=["server"],
)
def test_a_failed_request_is_reported_as_what_it_is_and_spoils_nothing_else(
    server: Server, kind: str, words: str, tmp_path: Path
) -> None:
    process = start(server, tmp_path)
    _, err = process.communicate(timeout=40)
    run = kept(tmp_path)
    assert (process.returncode, run.complete, run.failures) == (6, True, 1)
    assert [len(case.repeats) for case in run.cases] == [2, 2, 2, 2]
    failed = run.cases[1].repeats[0]
    assert (failed.ok, failed.kind, failed.figures) == (False, kind, {})
    assert words in failed.error
    assert words in err.splitlines()[-2]
    assert [case.figures["total_s"].n for case in run.cases] == [2, 1, 2, 2]
    assert run.cases[1].figures["completion_tokens"].median == TOKENS


@pytest.mark.parametrize("server", ["death"], indirect=True)
def test_a_server_that_dies_half_way_ends_the_suite_and_leaves_what_is_finished(server: Server, tmp_path: Path) -> None:
    process = start(server, tmp_path)
    process.communicate(timeout=40)
    run = kept(tmp_path)
    assert (process.returncode, run.complete) == (6, False)
    assert [case.name for case in run.cases] == ["64 tokens, cold", "64 tokens, warm"]
    assert [repeat.kind for repeat in run.cases[1].repeats] == ["cut", "refused"]
    assert "ttft_s" in run.cases[0].figures
    assert run.cases[1].figures == {}
    assert any("the server was lost" in note for note in run.notes)


@pytest.mark.parametrize("server", ["stall"], indirect=True)
def test_ctrl_c_keeps_the_cases_that_are_finished(server: Server, tmp_path: Path) -> None:
    process = start(server, tmp_path)
    assert server.reached.wait(30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    run = kept(tmp_path)
    assert process.returncode == 130
    assert (run.complete, [case.name for case in run.cases]) == (False, ["64 tokens, cold"])
    assert "interrupted after 1 cases, kept in" in err


@pytest.mark.parametrize("server", [""], indirect=True)
def test_a_sound_server_is_measured_without_a_failure(server: Server, tmp_path: Path) -> None:
    process = start(server, tmp_path)
    out, err = process.communicate(timeout=40)
    assert (process.returncode, kept(tmp_path).complete) == (0, True), err
    assert "64 tokens, cold" in out
    assert "tokens at the end only" in out


def test_a_port_where_nobody_listens_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    line = [sys.executable, "build-and-deploy.py", "bench", "run", "context", "--url", url, "--out", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=40)
    assert done.returncode == 6
    assert "refused" in done.stderr
    assert "hint: is it the URL" in done.stderr
