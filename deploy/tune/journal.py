"""Every measurement on disk as soon as it was made: a file that is only appended to, one line of JSON each."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.errors import TuneError
from deploy.tune.trial import Timing, Trial, timing_json, timing_of, trial_json, trial_of

FORMAT = 3
HEAD = b'{"format":'
"""How a journal begins."""
IDENTITY = ("device", "driver", "torch", "triton", "cuda", "kernel", "routing")
"""What of a device's facts a timing depends on. `kernel` and `routing` are digests of SGLang's file and of recorded
expert ids."""


class Journal:
    """The measurements of one problem, in `known`, and in `nodes` where each was made, if that was said. They depend on
    `problem` and on what IDENTITY names of the device's `facts`; a file of others is refused. `facts` are those that
    the file began with, `began` is when, in RFC 3339. With None a file is looked at whatever device it is of, and
    nothing may be added.

    One process at a time writes it. A last line that was cut off, when its writer was killed, is taken away. Raises
    TuneError.
    """

    def __init__(self, path: Path, problem: Mapping[str, Any], facts: Mapping[str, Any] | None) -> None:
        self.path, self.facts = path, json.loads(json.dumps(facts))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise TuneError(f"{path}: {error.strerror}", "name a file that can be written: --journal FILE") from None
        self.known: dict[Trial, Timing] = {}
        self.nodes: dict[Trial, str] = {}
        self.remarks: dict[str, Any] = {}
        self.began = ""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise TuneError(f"{path}: another run writes to it", "wait for that run, or end it") from None
        try:
            self._load(json.loads(json.dumps(problem)))
        except BaseException:
            self._file.close()
            raise

    def _load(self, problem: Any) -> None:
        lines = list(self._lines())
        if not lines and self.facts is None:
            return
        if not lines:
            self.began = datetime.now(UTC).isoformat(timespec="seconds")
            self._write({"format": FORMAT, "began": self.began, "problem": problem, "facts": self.facts})
            return
        head = lines[0]
        other = "another format" if head.get("format") != FORMAT else _difference(head, problem, self.facts)
        if other:
            hint = "name another --journal, or remove the file"
            raise TuneError(f"{self.path}: holds measurements of {other}", hint)
        self.facts, self.began = head["facts"], str(head["began"])
        for number, line in enumerate(lines[1:], start=2):
            if "remark" in line:
                self.remarks.update(line["remark"])
                continue
            try:
                self._take(trial_of(line["trial"]), timing_of(line["timing"]), str(line.get("node", "")))
            except (KeyError, TypeError, ValueError):
                raise TuneError(f"{self.path}: line {number} is no measurement", "remove that line") from None

    def _lines(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut off")
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise ValueError("no object")
            except ValueError:
                if number == 1 and not line.startswith(HEAD[: len(line)]):
                    raise TuneError(f"{self.path}: is no journal of measurements", "name another --journal") from None
                if self._file.read(1):
                    raise TuneError(f"{self.path}: line {number} is no JSON", "remove that line") from None
                self._file.truncate(whole)
                return
            whole += len(line)
            yield found

    def remark(self, name: str, value: Any) -> None:
        """Something else that belongs to the measurements, as JSON; one that is there stays."""
        if name not in self.remarks:
            self.remarks[name] = value
            self._write({"remark": {name: value}})

    def add(self, trial: Trial, timing: Timing, node: str = "") -> None:
        """On disk when this returns. Of a trial that was made twice, the first timing stays."""
        if trial in self.known:
            return
        self._take(trial, timing, node)
        where = {"node": node} if node else {}
        self._write({"trial": trial_json(trial), "timing": timing_json(timing), **where})

    def _take(self, trial: Trial, timing: Timing, node: str) -> None:
        self.known[trial] = timing
        if node:
            self.nodes[trial] = node

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _difference(head: Mapping[str, Any], problem: Any, facts: Mapping[str, Any]) -> str:
    """What the measurements are of, where it is not the same; empty where it is."""
    if head["problem"] != problem:
        return "another problem: model, data type, routing or GPU"
    if facts is None:
        return ""
    apart = [name for name in IDENTITY if head["facts"].get(name) != facts.get(name)]
    return ", ".join(f"{name} {head['facts'].get(name)}, and here it is {facts.get(name)}" for name in apart)
