"""Requests over HTTP to a simulated engine: usage, streams, and requests of another form."""

import json
import threading
from collections.abc import Iterator

import pytest

from energy_agent.sim.workloads.completions import CompletionApi, CompletionError
from energy_agent.sim.workloads.engine import BatchingEngine
from tests.energy_agent.sim.test_workloads import engine_of


@pytest.fixture
def served() -> Iterator[tuple[CompletionApi, BatchingEngine]]:
    engine, lock, ended = engine_of(), threading.Lock(), threading.Event()

    def run() -> None:
        now_ns = 0
        while not ended.wait(0.001):
            with lock:
                step = engine.plan()
                if step is not None:
                    now_ns += 10**7
                    engine.finish(step, now_ns)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield CompletionApi(engine, lock, "m", 0.5, lambda: 0), engine
    ended.set()
    thread.join()


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_usage_is_what_the_engine_counted(served: tuple[CompletionApi, BatchingEngine]) -> None:
    api, engine = served
    messages = [{"role": "system", "content": "one two"}, {"role": "user", "content": "three four"}]
    reply = json.loads(api.complete(body(messages=messages, max_tokens=7), is_chat=True).body)
    assert reply["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 7,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    assert reply["choices"][0]["message"]["content"].split() == ["token"] * 7
    assert (engine.counters.prompt, engine.counters.cached, engine.counters.generation) == (4, 2, 7)


def test_a_stream_ends_with_usage_where_it_is_requested(served: tuple[CompletionApi, BatchingEngine]) -> None:
    response = served[0].complete(
        body(prompt="a b", max_tokens=3, stream=True, stream_options={"include_usage": True}), is_chat=False
    )
    assert response.content_type == "text/event-stream"
    events = [line.removeprefix("data: ") for line in response.body.decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[0])["choices"][0]["text"] == "token token token"
    assert json.loads(events[1])["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    "wrong", [b"", b"[]", body(messages="x"), body(messages=[], max_tokens=-1), body(messages=[], max_tokens="5")]
)
def test_a_request_of_another_form_is_refused(served: tuple[CompletionApi, BatchingEngine], wrong: bytes) -> None:
    with pytest.raises(CompletionError) as error:
        served[0].complete(wrong, is_chat=True)
    assert error.value.status == 400
