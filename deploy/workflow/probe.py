"""What a ready server is held to: text, tool calls, and a look at its kernel tables, its NCCL and its network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.cluster.spec import Cluster, Image
from deploy.command import Result
from deploy.errors import NotReadyError, RemoteError
from deploy.event import Event, Note
from deploy.kernels.name import folder
from deploy.kernels.provenance import SUFFIX
from deploy.launch import nccl, network_log, table_report, toolcall
from deploy.launch.exposure import judge_lock
from deploy.launch.finding import Finding, with_cure
from deploy.launch.nccl import NcclFinding
from deploy.launch.network_log import NetworkFinding
from deploy.launch.sglang import server_flags
from deploy.launch.streamed import Streamed
from deploy.launch.symptom import garbage
from deploy.launch.table_report import Carried, TableFinding
from deploy.launch.toolcall import Verdict
from deploy.remote import live
from deploy.remote.execute import Fleet
from deploy.remote.http import Endpoint
from deploy.workflow.asked import ROOT
from deploy.workflow.ready import HEALTH_TIMEOUT, SMOKE_TIMEOUT, endpoint

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
SEE_LOGS = "read more with `logs --rank N`"


@dataclass(frozen=True)
class Looked:
    """What was found on the running ranks, by what they share."""

    tables: tuple[TableFinding, ...]
    nccl: tuple[NcclFinding, ...]
    network: tuple[NetworkFinding, ...]


def prove(fleet: Fleet, cluster: Cluster, key: str = "") -> Iterator[Event]:
    """Ask the server, then look at its ranks. Raises NotReadyError where what it answers is wrong."""
    parser, head = str(server_flags(cluster).get("tool-call-parser") or ""), endpoint(fleet, cluster, 0, key)
    if key:
        yield from _locked(head, cluster)
    yield Note("asking one question; the first one compiles kernels and may take two minutes")
    if parser in toolcall.CANNED:
        yield from _tool_calls(head, cluster, parser)
    else:
        yield from _generation(head, cluster)
        if parser:
            yield Note(f"tool calls: not probed, since no call in the format of {parser} is known here")
    found = look(cluster, fleet.each(dict.fromkeys(fleet.ranks, live.command(cluster.name))))
    findings: list[Finding] = [*found.tables, *found.nccl, *found.network]
    for one in findings:
        yield Note(with_cure(one), one.level)


def _locked(head: Endpoint, cluster: Cluster) -> Iterator[Event]:
    """The API opens with the key, and without it only what SGLang leaves open."""
    statuses = [one.get(MODELS, HEALTH_TIMEOUT).status for one in (head, replace(head, key=""))]
    problem = judge_lock(str(cluster.api_key), *statuses)
    if problem:
        raise NotReadyError(f"{cluster.name}: {problem}", "`down`, then `up`: ranks keep the key they started with")
    yield Note(f"the API asks for the key in {cluster.api_key}")


def look(cluster: Cluster, results: Mapping[int, Result]) -> Looked:
    """Kernel tables and NCCL, from what `live.command` printed on each node; a node that did not answer is left out."""
    seen = {rank: live.read(result.stdout) for rank, result in results.items() if result.ok}
    tables = table_report.findings({rank: one.tables for rank, one in seen.items()}, _carried(cluster.image))
    networks = network_log.findings({rank: one.network for rank, one in seen.items()})
    return Looked(tables, nccl.findings({rank: one.nccl for rank, one in seen.items()}), networks)


def _carried(image: Image) -> Carried:
    """The kernel tables that `build` puts into this image."""
    where = folder(image.triton)
    names = sorted(path.name for path in (ROOT / "configs" / where).glob("*.json"))
    return Carried(where, tuple(name for name in names if not name.endswith(SUFFIX)))


def _tool_calls(head: Endpoint, cluster: Cluster, parser: str) -> Iterator[Event]:
    """The parser by itself, then in a stream of generated text."""
    answer = head.post("/parse_function_call", toolcall.parse_request(parser), HEALTH_TIMEOUT)
    yield _judged(cluster, toolcall.judge_parse(parser, answer.status, answer.body))
    yield _judged(cluster, toolcall.judge_stream(parser, _streamed(head, cluster)))


def _judged(cluster: Cluster, verdict: Verdict) -> Note:
    if verdict.outcome == "failed":
        hint = "the server's tool-call parser is at fault: `patches status` on the image says what is in it"
        raise NotReadyError(f"{cluster.name}: {verdict.text}", hint)
    return Note(f"tool calls: {verdict.text}", "info" if verdict.outcome == "passed" else "warning")


def _streamed(head: Endpoint, cluster: Cluster) -> Streamed:
    answer = Streamed()
    try:
        for line in head.stream(CHAT, toolcall.chat_request(cluster.model.path), SMOKE_TIMEOUT):
            answer.take(line)
    except RemoteError as error:
        raise NotReadyError(f"{cluster.name}: no answer from rank 0: {error.message}", SEE_LOGS) from None
    if answer.error:
        raise NotReadyError(f"{cluster.name}: rank 0 answered: {answer.error}", SEE_LOGS)
    return answer


def short_question(cluster: Cluster) -> dict[str, Any]:
    """The body of a chat request whose answer shows whether text is generated that can be read."""
    messages = [{"role": "user", "content": "Name three colours."}]
    return {"model": cluster.model.path, "messages": messages, "max_tokens": 32, "temperature": 0}


def _generation(head: Endpoint, cluster: Cluster) -> Iterator[Event]:
    """One real generation."""
    answer = head.post(CHAT, short_question(cluster), SMOKE_TIMEOUT)
    if not answer.ok:
        raise NotReadyError(f"{cluster.name}: no answer from rank 0 ({answer.status}: {answer.body[:200]})", SEE_LOGS)
    text = text_of(answer.body)
    if why := garbage(text):
        raise NotReadyError(
            f"{cluster.name}: rank 0 answered garbage: {why}: {text[:60]!r}", "the kernels may be wrong"
        )
    yield Note(f"answer: {text.strip()[:100]!r}")


def text_of(body: str) -> str:
    """All that was generated, thinking included."""
    try:
        message = json.loads(body)["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        return ""
    return " ".join(str(message[key]) for key in ("reasoning_content", "content") if message.get(key))
