"""What reading a tool call costs: our glm47 detector beside the one of the newest SGLang on PyPI, on the same streams.

`benchmarks/parser.py [--rounds R] [--json]`, with the project's own Python; pip must reach its index.

Each tree is imported in a process of its own, since both are called sglang. Ours is 0.5.4.post3 with patches/ applied;
theirs is a black box of which nothing is read. The two take turns, round by round. A stream is one call of 10 KB to
1 MB of argument text (a code edit: strings; or numbers and objects) in chunks of one token (taken as 4 characters) or
of eight. Measured is CPU time of the detector, from the first chunk to the last. Theirs hands out arguments piece by
piece where ours hands out each call when it has ended.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deploy.image import patched  # noqa: E402
from deploy.store import wheel  # noqa: E402
from deploy.wheel import fetch  # noqa: E402

BASE = "0.5.4.post3"
SIZES = (10_000, 100_000, 1_000_000)
TOKENS = (1, 8)
KINDS = ("code edit", "numbers and objects")
Setting = tuple[str, int, int]
SETTINGS: tuple[Setting, ...] = tuple((kind, size, tokens) for kind in KINDS for size in SIZES for tokens in TOKENS)


class Worker:
    """A process that has imported one tree and times one stream when asked."""

    def __init__(self, tree: Path) -> None:
        command = [sys.executable, str(ROOT / "benchmarks" / "parser_worker.py"), str(tree)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def time(self, setting: Setting) -> dict[str, Any]:
        """`seconds` for this stream, and whether the arguments came back `whole`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(setting) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with {self._process.wait()}; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


def unpacked(wheel: Path, folder: Path) -> Path:
    """The Python files of a wheel's sglang/srt, as a tree."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(folder, [name for name in names if name.startswith("sglang/srt/") and name.endswith(".py")])
    return folder


def trees(folder: Path) -> tuple[Path, Path, str]:
    """(ours, patched; theirs; the version of theirs)."""
    ours = unpacked(wheel("sglang", BASE), folder / "ours")
    patched.apply(ours, patched.manifest(ROOT / "patches"))
    newest = fetch(("sglang",), folder / "newest", "the newest sglang")
    return ours, unpacked(newest, folder / "theirs"), newest.name.split("-")[1]


def measured(ours: Worker, theirs: Worker, rounds: int) -> dict[Setting, list[dict[str, Any]]]:
    """By setting, a pair of timings a round. Each worker warms up on the shortest streams, which do not count."""
    found: dict[Setting, list[dict[str, Any]]] = {setting: [] for setting in SETTINGS}
    order = [("ours", ours), ("theirs", theirs)]
    for setting in (one for one in SETTINGS if one[1] == min(SIZES)):
        for _, worker in order:
            worker.time(setting)
    for _ in range(rounds):
        order.reverse()
        for setting in SETTINGS:
            found[setting].append({name: worker.time(setting) for name, worker in order})
    return found


def spread(seconds: list[float], size: int) -> dict[str, float]:
    """Seconds a MB: median, least and most."""
    a_mb = [one * 1_000_000 / size for one in seconds]
    return {"median": statistics.median(a_mb), "least": min(a_mb), "most": max(a_mb)}


def summary(found: dict[Setting, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row a setting; the ratio is the median of the rounds' own ratios."""
    rows = []
    for (kind, size, tokens), pairs in found.items():
        row: dict[str, Any] = {"kind": kind, "size": size, "tokens_a_chunk": tokens}
        for name in ("ours", "theirs"):
            row[name] = spread([pair[name]["seconds"] for pair in pairs], size)
            row[f"{name}_whole"] = all(pair[name]["whole"] for pair in pairs)
        row["ratio"] = statistics.median(pair["theirs"]["seconds"] / pair["ours"]["seconds"] for pair in pairs)
        rows.append(row)
    return rows


def growth(found: dict[Setting, list[dict[str, Any]]]) -> float:
    """Time of ours at 1 MB over 100 KB, the median of the rounds, at the worst stream; 10 is linear."""
    ratios = [
        statistics.median(
            long["ours"]["seconds"] / short["ours"]["seconds"]
            for long, short in zip(found[kind, 1_000_000, tokens], found[kind, 100_000, tokens], strict=True)
        )
        for kind in KINDS
        for tokens in TOKENS
    ]
    return float(max(ratios))


def table(result: dict[str, Any]) -> str:
    lines = [
        f"CPU seconds per MB of argument text, median (least to most) of {result['rounds']} rounds; "
        f"ours in {BASE}, theirs in {result['theirs']}",
        f"{'stream':20} {'size':>9} {'tokens':>6}  {'ours':>22}  {'theirs':>22}  ratio",
    ]
    for row in result["settings"]:
        cells = [
            f"{one['median']:.3f} ({one['least']:.3f} to {one['most']:.3f})" for one in (row["ours"], row["theirs"])
        ]
        marks = "".join("" if row[f"{who}_whole"] else f"  {who}: arguments differ" for who in ("ours", "theirs"))
        head = f"{row['kind']:20} {row['size']:>9,} {row['tokens_a_chunk']:>6}"
        lines.append(f"{head}  {cells[0]:>22}  {cells[1]:>22}  {row['ratio']:.2f}{marks}")
    lines.append(f"theirs over ours, at the worst setting: {result['ratio_to_upstream']:.2f}")
    lines.append(f"ours, 1 MB over 100 KB, at the worst: {result['growth_1mb_over_100kb']:.1f} (10 is linear)")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3, help="rounds that count, after one that warms up")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, their_place, version = trees(Path(folder))
        with Worker(place) as ours, Worker(their_place) as theirs:
            found = measured(ours, theirs, given.rounds)
    rows = summary(found)
    result = {
        "ratio_to_upstream": min(row["ratio"] for row in rows),
        "growth_1mb_over_100kb": growth(found),
        "theirs": version,
        "rounds": given.rounds,
        "settings": rows,
    }
    print(json.dumps(result, indent=2) if given.json else table(result))


if __name__ == "__main__":
    main()
