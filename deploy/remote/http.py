"""The home of HTTP to the ranks, through the SSH connection: no port of a node need be open to this machine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deploy.errors import RemoteError
from deploy.remote.ssh import Session

UNAUTHORIZED = 401
OTHER_KEY = "ranks keep the key they started with: give that one, or `down` and `up` with this one (api_key)"


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
    """One rank's HTTP port, as its own node sees it; every request carries `key`, unless it is empty."""

    session: Session
    host: str
    port: int
    key: str = field(default="", repr=False)

    def get(self, path: str, timeout: float) -> Answer:
        return self._ask("GET", path, None, timeout)

    def post(self, path: str, body: Any, timeout: float) -> Answer:
        return self._ask("POST", path, json.dumps(body), timeout)

    def stream(self, path: str, body: Any, timeout: float) -> Iterator[str]:
        """Lines of a streamed answer as they come. Raises RemoteError where there is none."""
        connection = self._connection(timeout)
        try:
            connection.request("POST", path, json.dumps(body), self._headers(body=True))
            response = connection.getresponse()
            if response.status != 200:
                what = response.read(500).decode(errors="replace")
                hint = OTHER_KEY if response.status == UNAUTHORIZED else "see `logs --rank 0`"
                raise RemoteError(f"{path} answered {response.status}: {what}", hint)
            for line in response:
                yield line.decode(errors="replace").rstrip("\r\n")
        except (OSError, EOFError, http.client.HTTPException) as error:
            raise RemoteError(f"no answer from {path}: {error}", "see `status`") from None
        finally:
            connection.close()

    def _headers(self, *, body: bool) -> dict[str, str]:
        kind = {"Content-Type": "application/json"} if body else {}
        return kind | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        connection.sock = self.session.tunnel(self.host, self.port, timeout)
        return connection

    def _ask(self, method: str, path: str, body: str | None, timeout: float) -> Answer:
        try:
            connection = self._connection(timeout)
        except (OSError, EOFError) as error:
            return Answer(0, str(error) or type(error).__name__)
        try:
            connection.request(method, path, body, self._headers(body=body is not None))
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(errors="replace"))
        except (OSError, EOFError, http.client.HTTPException) as error:
            return Answer(0, str(error) or type(error).__name__)
        finally:
            connection.close()
