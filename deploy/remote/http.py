"""The home of HTTP to the ranks, through the SSH connection: no port of a node need be open to this machine."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from deploy.remote.ssh import Session


@dataclass(frozen=True)
class Answer:
    """Status and body of an HTTP answer; status 0 where none came, and `body` says why."""

    status: int
    body: str

    @property
    def ok(self) -> bool:
        return self.status == 200


@dataclass(frozen=True)
class Endpoint:
    """One rank's HTTP port, as its own node sees it."""

    session: Session
    host: str
    port: int

    def get(self, path: str, timeout: float) -> Answer:
        return self._ask("GET", path, None, timeout)

    def post(self, path: str, body: Any, timeout: float) -> Answer:
        return self._ask("POST", path, json.dumps(body), timeout)

    def _ask(self, method: str, path: str, body: str | None, timeout: float) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.sock = self.session.tunnel(self.host, self.port, timeout)
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except (OSError, EOFError, http.client.HTTPException) as error:
            return Answer(0, str(error) or type(error).__name__)
        finally:
            connection.close()
