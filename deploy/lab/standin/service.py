"""What rank 0 answers on each path but chat: health, models, information, generation, parsing; no HTTP in here."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

from .answer import limited, sentence, tokens
from .api import Answer, Api, Body, new_id
from .generation import Scheduler, Work
from .rank import Rank

HEALTH_POLL = 1.0
DEFAULT_NEW_TOKENS = 128


class Service:
    """The API of rank 0; chat and parsers are loaded with `attach`, since that takes a second."""

    def __init__(self, rank: Rank, scheduler: Scheduler) -> None:
        self.rank, self.told, self.settings, self.scheduler = rank, rank.told, rank.settings, scheduler

    def attach(self, api: Api) -> None:
        """Give every path its answer."""
        from . import parsers
        from .chat import Chat

        chat = Chat(self.told, self.settings, self.scheduler, self.finished)
        api.add("GET", "/health", lambda _: (self.health(), None))
        api.add("GET", "/health_generate", lambda _: (self.health(), None))
        api.add("GET", "/ping", lambda _: (self.health(), None))
        api.add("GET", "/v1/models", lambda _: (200, self.models()))
        api.add("GET", "/get_model_info", lambda _: (200, self.model_info()))
        api.add("GET", "/model_info", lambda _: (200, self.model_info()))
        api.add("GET", "/get_server_info", lambda _: (200, self.server_info()))
        api.add("GET", "/get_load", lambda _: (200, self.load()))
        api.add("GET POST", "/flush_cache", lambda _: self.flush())
        api.add("POST", "/generate", self.generate)
        api.add("POST", "/v1/completions", self.complete)
        api.add("POST", "/v1/chat/completions", lambda body: (200, chat.answer(body)))
        api.add("POST", "/parse_function_call", lambda body: (200, parsers.parse_call(body, self.settings)))
        api.add("POST", "/separate_reasoning", lambda body: (200, parsers.separate(body)))

    def health(self) -> int:
        """200 once all ranks answer a step; 503 while starting or leaving, or when they do not within the timeout."""
        if self.rank.leaving.is_set() or not self.rank.up:
            return 503
        asked = time.monotonic()
        if not self.scheduler.remaining:  # else the step that runs is proof enough, as in SGLang
            self.scheduler.submit(["!"], check=True)
        while time.monotonic() < asked + self.settings.health_timeout:
            time.sleep(HEALTH_POLL)
            if self.scheduler.last_answer > asked:
                return 200
        began = time.strftime("%H:%M:%S", time.localtime(time.time() - self.settings.health_timeout))
        self.rank.log.main(
            "Health check failed. Server couldn't get a response from detokenizer for last "
            f"{self.settings.health_timeout:.0f} seconds. tic start time: {began}. last_heartbeat time: unknown"
        )
        return 503

    def models(self) -> dict[str, Any]:
        """The one model."""
        card = {
            "id": self.told.model,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "sglang",
            "root": self.told.model,
            "max_model_len": self.told.args.context_length or 131072,
        }
        return {"object": "list", "data": [card]}

    def model_info(self) -> dict[str, Any]:
        """What is served."""
        args = self.told.args
        tokenizer = args.tokenizer_path or args.model_path
        return {
            "model_path": args.model_path,
            "tokenizer_path": tokenizer,
            "is_generation": True,
            "preferred_sampling_params": None,
            "weight_version": "default",
        }

    def server_info(self) -> dict[str, Any]:
        """All arguments, as copies as in SGLang, and what was counted since the last flush."""
        state = {"last_gen_throughput": 0.0}
        if self.told.eagle:
            state["avg_spec_accept_length"] = self.scheduler.accept_length
        known = json.loads(json.dumps(copy.deepcopy(vars(self.told.args)), default=str))
        return {**known, "version": self.told.version, "internal_states": [state], "stand_in": True}

    def load(self) -> list[dict[str, Any]]:
        """Requests and tokens, as the scheduler has them between two steps: where it is stuck, no answer comes."""
        self.scheduler.settle()
        state = {"num_reqs": self.scheduler.remaining, "num_waiting_reqs": self.scheduler.waiting}
        return [{"dp_rank": None, **state, "num_tokens": self.scheduler.held}]

    def flush(self) -> Answer:
        """Forget the counts; refused while requests run."""
        if self.scheduler.remaining:
            return 400, "Cache not flushed: requests are running.\n"
        self.scheduler.reset()
        return 200, "Cache flushed.\n"

    def generate(self, body: Body) -> Answer:
        """SGLang's own generation: text in, text and meta_info out; streamed text is cumulative."""
        sampling = body.get("sampling_params") or {}
        text = body.get("text") or " ".join(str(one) for one in body.get("input_ids") or [])
        most = sampling.get("max_new_tokens", DEFAULT_NEW_TOKENS)
        said, finish = limited(tokens(sentence(text, self.settings.text)), most, bool(sampling.get("ignore_eos")))
        work, began = self.scheduler.submit(said, len(tokens(text))), time.monotonic()
        if body.get("stream"):
            return 200, self.stream_generate(work, text, said, finish)
        return 200, self.generated("".join(work), work, (text, said, finish), began)

    def stream_generate(self, work: Work, text: str, said: list[str], finish: str) -> Iterator[str]:
        """Events that each hold all text so far."""
        whole, began = "", time.monotonic()
        for chunk in work:
            whole += chunk
            so_far = tokens(whole)
            end = finish if len(whole) == sum(len(one) for one in said) else ""
            yield f"data: {json.dumps(self.generated(whole, work, (text, so_far, end), began))}\n\n"
        yield "data: [DONE]\n\n"

    def finished(self, name: str, prompt: int, said: int, work: Work) -> None:
        """Log what a request took, where --log-requests asks for it."""
        if self.told.args.log_requests:
            meta = {"prompt_tokens": prompt, "completion_tokens": said, **self.speculated(said, work)}
            self.rank.log.request(name, meta)

    def speculated(self, said: int, work: Work) -> dict[str, Any]:
        """What speculation did for a request, as meta_info says it."""
        if not self.told.eagle or not work.verified:
            return {}
        right = said - work.verified
        told = {"spec_verify_ct": work.verified, "spec_num_correct_drafts": right}
        return told | {"spec_accept_length": said / work.verified}

    def generated(self, whole: str, work: Work, told: tuple[str, list[str], str], began: float) -> dict[str, Any]:
        """A response of /generate."""
        prompt, said, finish = told
        meta: dict[str, Any] = {
            "id": new_id(),
            "finish_reason": {"type": finish} if finish else None,
            "prompt_tokens": len(tokens(prompt)),
            "completion_tokens": len(said),
            "cached_tokens": 0,
            "weight_version": "default",
            "e2e_latency": time.monotonic() - began,
        }
        meta |= self.speculated(len(said), work)
        if finish:
            self.finished(meta["id"], meta["prompt_tokens"], len(said), work)
        return {"text": whole, "meta_info": meta}

    def complete(self, body: Body) -> Answer:
        """OpenAI's text completions, streamed or whole."""
        prompt = body["prompt"] if isinstance(body["prompt"], str) else str(body["prompt"][0])
        text = sentence(prompt, self.settings.text)
        said, finish = limited(tokens(text), body.get("max_tokens", 16), bool(body.get("ignore_eos")))
        count = len(tokens(prompt))
        work = self.scheduler.submit(said, count)
        usage = {"prompt_tokens": count, "completion_tokens": len(said), "total_tokens": count + len(said)}
        head = {"id": new_id(), "object": "text_completion", "created": int(time.time()), "model": self.told.model}
        if body.get("stream"):
            counted = usage if (body.get("stream_options") or {}).get("include_usage") else None
            return 200, stream_complete(head, work, finish, counted)
        return 200, {**head, "choices": [choice("".join(work), finish)], "usage": usage}


def choice(text: str, finish: str | None) -> dict[str, Any]:
    """One choice of a text completion."""
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish, "matched_stop": None}


def stream_complete(head: Body, work: Work, finish: str, usage: Body | None) -> Iterator[str]:
    """Events of a text completion."""
    for chunk in work:
        yield f"data: {json.dumps({**head, 'choices': [choice(chunk, None)], 'usage': None})}\n\n"
    yield f"data: {json.dumps({**head, 'choices': [choice('', finish)], 'usage': None})}\n\n"
    if usage:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
