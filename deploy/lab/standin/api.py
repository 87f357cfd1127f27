"""The HTTP side: health on every rank, the API on rank 0, with SGLang's paths and answers; makes no text itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .log import Log

Body = dict[str, Any]
Answer = tuple[int, Any]
Route = Callable[[Body], Answer]
OPEN = ("/health", "/metrics")


class Api(ThreadingHTTPServer):
    """A server with routes by method and path; `key` is the API key that all but health ask for, if any."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], log: Log, key: str | None) -> None:
        self.log, self.key = log, key
        self.routes: dict[tuple[str, str], Route] = {}
        self.quiet = False
        super().__init__(address, Handler)

    def add(self, methods: str, path: str, route: Route) -> None:
        """Answer `path` for each of the methods (separated by spaces) by calling the route with the request's JSON."""
        for method in methods.split():
            self.routes[method, path] = route


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as in uvicorn: a chunk is sent when it is said
    server: Api

    def do_GET(self) -> None:
        """Answer a GET."""
        self.respond("GET")

    def do_POST(self) -> None:
        """Answer a POST."""
        self.respond("POST")

    def respond(self, method: str) -> None:
        """Find the route, refuse what SGLang would refuse, and send what the route says."""
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        try:
            status, content = self.routed(method, path, text)
            self.send(status, content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def routed(self, method: str, path: str, text: bytes) -> Answer:
        """Status and content for a request."""
        key = self.server.key
        if key and not path.startswith(OPEN) and self.headers.get("Authorization") != f"Bearer {key}":
            return 401, {"error": "Unauthorized"}
        route = self.server.routes.get((method, path))
        if route is None:
            known = any(path == one for _, one in self.server.routes)
            return (405, {"detail": "Method Not Allowed"}) if known else (404, {"detail": "Not Found"})
        try:
            return route(json.loads(text or b"{}"))
        except (ValueError, KeyError, TypeError) as error:
            return 400, {
                "object": "error",
                "message": str(error),
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            }

    def send(self, status: int, content: Any) -> None:
        """Send nothing, text, JSON, or a stream of events."""
        if isinstance(content, Iterator):
            self.stream(content)
            return
        plain = content is None or isinstance(content, str)
        data = (content or "").encode() if plain else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if plain else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, events: Iterator[str]) -> None:
        """Send events as they come, each as an HTTP chunk."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            data = event.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - the library's names
        """Write the line that uvicorn writes for a request."""
        if not self.server.quiet:
            host, port = self.client_address[:2]
            status = HTTPStatus(int(code))
            self.server.log.main(f'INFO:     {host}:{port} - "{self.requestline}" {status.value} {status.phrase}')

    def version_string(self) -> str:
        """What answers here, said in every response."""
        return "sglang-standin"


def new_id() -> str:
    """An id for a response."""
    return uuid.uuid4().hex
