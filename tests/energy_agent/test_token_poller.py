"""The poller against a real HTTP server whose page moves, breaks and restarts."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from energy_agent.clock import RealClock
from energy_agent.config import TokenSource
from energy_agent.core.errors import UsageError
from energy_agent.sources.tokens._reading import TOKEN_STATE
from energy_agent.token_poller import TokenPoller
from tests.support import eventually


class Pages(http.server.ThreadingHTTPServer):
    """Serves whatever `body` is."""

    daemon_threads = True
    body = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/metrics"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


def page(generation: int, prompt: int = 0) -> bytes:
    lines = [
        "# TYPE vllm:generation_tokens_total counter",
        f'vllm:generation_tokens_total{{model_name="m",engine="0"}} {generation}',
        "# TYPE vllm:prompt_tokens_total counter",
        f'vllm:prompt_tokens_total{{model_name="m",engine="0"}} {prompt}',
    ]
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def server() -> Iterator[Pages]:
    with Pages(("127.0.0.1", 0), Handler) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.05,), daemon=True).start()
        yield pages
        pages.shutdown()


@pytest.fixture
def poller() -> Iterator[TokenPoller]:
    made = TokenPoller(RealClock())
    yield made
    made.stop()


class Counted:
    """Sums of what the poller hands over."""

    def __init__(self, poller):
        self.poller, self.tokens, self.states = poller, {}, {}

    def drain(self):
        rows, states = self.poller.drain()
        self.states |= states
        for row in rows:
            assert row.start_ns <= row.end_ns
            self.tokens[row.phase] = self.tokens.get(row.phase, 0) + row.tokens
        return self.tokens


def source(pages, **more):
    return TokenSource(workload="chat", url=pages.url, period_s=0.5, **more)


def test_counting_begins_with_the_first_reading_and_goes_on_from_the_last_commit(server, poller):
    server.body = page(1000, 50)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: counted.drain().get("generation") == 0)  # what it did before we came is not ours
    server.body = page(1070, 80)
    eventually(lambda: counted.drain().get("generation") == 70)
    assert counted.tokens["prompt"] == 30
    poller.stop()

    server.body = page(1500, 80)  # the agent is down, the server is not
    again = TokenPoller(RealClock())
    again.restore(counted.states)
    after = Counted(again)
    again.configure([source(server)])
    eventually(lambda: after.drain().get("generation") == 430)
    again.stop()


def test_an_engine_that_restarted_counts_from_zero(server, poller):
    server.body = page(900)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: "generation" in counted.drain())
    server.body = page(25)
    eventually(lambda: counted.drain()["generation"] == 25)


@pytest.mark.parametrize(
    "broken", [b"", b"\xff\xfe\x00", b"<html>", b"vllm:generation_tokens_total{model_name=", b"x" * 5_000_000]
)
def test_a_broken_page_is_a_reason_and_not_the_end(server, poller, broken):
    server.body = broken
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: poller.health()[0].reason not in ("", "not read yet"))
    assert not poller.health()[0].up
    assert poller.latest("chat") is None
    server.body = page(5)
    eventually(lambda: poller.health()[0].up)
    assert counted.drain()["generation"] == 0


def test_unreadable_states_are_left_out(poller, server):
    poller.restore({f"{TOKEN_STATE}chat/m": "not json", f"{TOKEN_STATE}chat/n": "[]", f"{TOKEN_STATE}chat/o": '{"a":1}'})
    server.body = page(5)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: counted.drain().get("generation") == 0)


def test_an_unknown_server_is_named_with_those_there_are(poller, server):
    with pytest.raises(UsageError, match=r"no server 'vlm'; known: vllm$"):
        poller.configure([source(server, server="vlm")])
