"""Requests to the simulated LLM engine over HTTP, in the form of OpenAI's API (chat completions, completions, models).

A word is a token, and a response has `max_tokens` tokens, all "token": only lengths matter. Interface names are OpenAI's.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_agent.sim.workloads.engine import BatchingEngine, SimulatedRequest

BODY_LIMIT_B: Final = 4 << 20
_OUTPUT_DEFAULT: Final = 16
_OUTPUT_MAX: Final = 100_000
_POLL_S: Final = 0.01
_TIMEOUT_S: Final = 300.0


class CompletionError(Exception):
    """A request that gets no completion; `status` is that of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class CompletionResponse:
    """A body and its type."""

    content_type: str
    body: bytes


class CompletionApi:
    """Puts requests into the engine, and waits until they are finished.

    Args:
        engine: shared with the loop that runs its steps.
        lock: held while the engine is read or changed.
        model: name of the served model.
        cached_ratio: share of each prompt that is in the cache.
        now_ns: plant time.
    """

    def __init__(
        self, engine: BatchingEngine, lock: threading.Lock, model: str, cached_ratio: float, now_ns: Callable[[], int]
    ) -> None:
        self._engine, self._lock, self._model, self._cached_ratio, self._now_ns = engine, lock, model, cached_ratio, now_ns

    def models(self) -> CompletionResponse:
        """The response to GET /v1/models."""
        return _json({"object": "list", "data": [{"id": self._model, "object": "model", "owned_by": "wattlens"}]})

    def complete(self, body: bytes, *, is_chat: bool) -> CompletionResponse:
        """Run a request to its end.

        Raises:
            CompletionError: the request has another form, or did not end in time.
        """
        document = _parse(body)
        prompt = max(1, len(_prompt(document, is_chat=is_chat).split()))
        output = document.get("max_completion_tokens") or document.get("max_tokens") or _OUTPUT_DEFAULT
        if not isinstance(output, int) or not 0 < output <= _OUTPUT_MAX:
            raise CompletionError(400, f"max_tokens: expected an integer from 1 to {_OUTPUT_MAX}")
        request = SimulatedRequest(self._now_ns(), prompt, output, math.floor(prompt * self._cached_ratio))
        with self._lock:
            self._engine.arrive(request)
        deadline_s = time.monotonic() + _TIMEOUT_S
        while request.generated < request.output:
            if time.monotonic() > deadline_s:
                raise CompletionError(504, "the engine did not finish the request in time")
            time.sleep(_POLL_S)
        return self._respond(request, document, is_chat=is_chat)

    def _respond(self, request: SimulatedRequest, document: Mapping[str, Any], *, is_chat: bool) -> CompletionResponse:
        usage = {
            "prompt_tokens": request.prompt,
            "completion_tokens": request.generated,
            "total_tokens": request.prompt + request.generated,
            "prompt_tokens_details": {"cached_tokens": request.cached},
        }
        text, is_streamed = " ".join(["token"] * request.generated), bool(document.get("stream"))
        part = "delta" if is_streamed else "message"
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice |= {part: {"role": "assistant", "content": text}} if is_chat else {"text": text}
        kind = ("chat.completion" if is_chat else "text_completion") + (".chunk" if is_streamed and is_chat else "")
        head = {"id": f"sim-{id(request)}", "object": kind, "created": int(time.time()), "model": self._model}
        if not is_streamed:
            return _json(head | {"choices": [choice], "usage": usage})
        events = [head | {"choices": [choice]}]
        if (document.get("stream_options") or {}).get("include_usage"):
            events.append(head | {"choices": [], "usage": usage})
        lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return CompletionResponse("text/event-stream", f"{lines}data: [DONE]\n\n".encode())


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CompletionError(400, "expected a JSON object")
    return document


def _prompt(document: Mapping[str, Any], *, is_chat: bool) -> str:
    if not is_chat:
        return str(document.get("prompt", ""))
    messages = document.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise CompletionError(400, "messages: expected a list of objects")
    return " ".join(str(message.get("content", "")) for message in messages)


def _json(content: object) -> CompletionResponse:
    return CompletionResponse("application/json", json.dumps(content).encode())
