"""A real browser without a window: pages opened in it, and what they did there. Its standard pipe speaks JSON."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SECONDS = 60


class Browser:
    """One page. `errors` and `requests` are all since it was opened."""

    def __init__(self, process: subprocess.Popen[bytes], writes: int, reads: int) -> None:
        self._process, self._writes, self._reads = process, writes, reads
        self._rest, self._number, self._session = b"", 0, ""
        self._loaded = False
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def show(self, page: Path, width: int, scheme: str) -> None:
        """Open a file at a width in CSS pixels, in the scheme `light` or `dark`."""
        self.errors.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._loaded = False
        self.call("Page.navigate", url=page.resolve().as_uri())
        until = time.monotonic() + SECONDS
        while not self._loaded:
            self._hear(until)

    def asked(self, expression: str) -> Any:
        """The value of JavaScript in the page; the page itself may forbid scripts."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def pictured(self) -> bytes:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        self._number += 1
        said = {"id": self._number, "method": method, "params": given}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._writes, json.dumps(said).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            heard = self._hear(until)
            if heard.get("id") == self._number:
                assert "error" not in heard, (method, heard["error"])
                found: dict[str, Any] = heard["result"]
                return found

    def _hear(self, until: float) -> dict[str, Any]:
        """The next message; events are kept on the way."""
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            assert left > 0, "the browser said nothing"
            if select.select([self._reads], [], [], left)[0]:
                piece = os.read(self._reads, 1 << 20)
                assert piece, f"the browser ended: {self._process.poll()}"
                self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        heard: dict[str, Any] = json.loads(line)
        self._keep(heard.get("method", ""), heard.get("params", {}))
        return heard

    def _keep(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" or event == "Log.entryAdded":
            self.errors.append(json.dumps(told))


def need_browser() -> str:
    """The browser's command. Skip, visibly, where there is none."""
    found = next((path for command in COMMANDS if (path := shutil.which(command))), None)
    if not found:
        pytest.skip("no browser: apt-get install chromium-headless-shell (Debian) or chromium")
    return found


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in `folder`; it is ended with the block."""
    to_it, writes = os.pipe()
    reads, from_it = os.pipe()
    command = [
        *("bash", "-c", f'exec "$@" 3<&{to_it} 4>&{from_it}', "browser", need_browser(), "--headless", "--no-sandbox"),
        *("--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", "--disable-background-networking"),
        *(f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"),
    ]
    process = subprocess.Popen(
        command,
        pass_fds=(to_it, from_it),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_it)
    os.close(from_it)
    try:
        yield Browser(process, writes, reads)
    finally:
        os.close(writes)  # the browser ends with its pipe
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        os.close(reads)
