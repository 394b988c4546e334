"""Server pages at both ends of a window, over real HTTP: what moves, restarts, goes or breaks."""

import functools
import ssl

import pytest

from energy_agent.runtime.clock import RealClock
from energy_agent.sdk.measure.token_endpoints import TokenEndpoints
from energy_agent.tokens.endpoint import fetch
from tests.certificates import Authority
from tests.raw_server import OK, RawServer
from tests.support import eventually, free_port, refusal


@pytest.fixture
def server(monkeypatch):
    patient = functools.partial(fetch, timeout_s=60.0)  # as long as a busy machine may need for an answer
    monkeypatch.setattr("energy_agent.sdk.measure.token_endpoints.fetch", patient)
    with RawServer() as raw_server:
        yield raw_server


def serve(server, body):
    server.parts = [OK + b"Content-Length: %d\r\n\r\n" % len(body) + body]
    return f"{server.url}/metrics"


def vllm(generation, prompt=0, running=0, steps=None, started=1.0, engines=("0",), cached=0, requests=0):
    lines = []
    for engine in engines:
        labels = f'{{model_name="m",engine="{engine}"}}'
        lines += [f"vllm:generation_tokens_total{labels} {generation}", f"vllm:generation_tokens_created{labels} {started}"]
        lines += [f"vllm:prompt_tokens_total{labels} {prompt}", f"vllm:prompt_tokens_cached_total{labels} {cached}"]
        lines += [f"vllm:num_requests_running{labels} {running}", f"vllm:request_success_total{labels} {requests}"]
        if steps is not None:
            lines.append(f"vllm:iteration_tokens_total_count{labels} {steps}")
    return ("\n".join(lines) + "\n").encode()


def llama(generation, running):
    return f"llamacpp:tokens_predicted_total {generation}\nllamacpp:requests_processing {running}\n".encode()


def tokens_of_window(server, first, last, kind="vllm", seconds=1.0):
    with TokenEndpoints([serve(server, first)], kind, RealClock()) as pages:
        serve(server, last)
        return pages.read_window(seconds)


def test_a_window_has_what_the_counters_moved_by(server):
    tokens = tokens_of_window(
        server, vllm(100, 50, 4, 10, cached=20), vllm(900, 450, 4, 210, cached=220, requests=30), seconds=0.0
    )
    assert (tokens.generation, tokens.computed, tokens.cached, tokens.processed) == (800, 200, 200, 1000)
    assert (tokens.steps, tokens.requests, tokens.models) == (200, 30, ("m",))
    assert tokens.running == 4.0
    assert tokens.edge_generation > 0
    assert (tokens.moves, tokens.reason, tokens.source) == ("step", "", f"{server.url}/metrics")


def test_https_needs_a_certificate_of_a_known_authority(tmp_path):
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server", "IP:127.0.0.1"))
    with RawServer([OK + b"\r\n" + vllm(100)], tls=tls) as server:
        urls = [f"{server.url}/metrics"]
        reason = eventually(lambda: TokenEndpoints(urls, "vllm", RealClock()).check())
        assert "certificate" in reason
        assert "--tokens-ca-file" in reason
        eventually(lambda: not TokenEndpoints(urls, "vllm", RealClock(), authority.ca).check())


def test_unavailable_counts_are_absent_with_their_reason(server):
    two, gone = ("0", "1"), b"# nothing\n"
    assert (
        tokens_of_window(server, vllm(10, engines=two), vllm(30, engines=two)).generation == 40
    )  # several engines of a page add up
    for first, last, words in (
        (vllm(100), vllm(150, started=9.0), "restarted"), (vllm(100), vllm(20), "restarted"),
        (vllm(100, engines=two), vllm(150), "was missing"), (vllm(100), vllm("NaN"), "generated tokens"),
        (vllm(100), gone, "endpoint of vLLM"), (gone, vllm(100), "endpoint of vLLM"),
    ):  # fmt: skip
        tokens = tokens_of_window(server, first, last)
        assert tokens.generation is tokens.processed is None
        assert words in tokens.reason
    tokens = tokens_of_window(server, llama(5, 0), llama(105, 0), "llama_cpp", seconds=60.0)  # between two rests
    assert (tokens.generation, tokens.edge_generation, tokens.moves) == (100, 0.0, "request")
    assert "when a request ends" in tokens_of_window(server, llama(5, 1), llama(105, 0), "llama_cpp").reason
    with TokenEndpoints([f"http://127.0.0.1:{free_port()}/metrics"], "vllm", RealClock()) as pages:
        assert "refused" in pages.read_window(1.0).reason


def test_query_parameters_are_not_exposed(server):
    for body in (vllm(1), b"nothing"):
        url = serve(server, body)
        with TokenEndpoints([f"{url}?key=secret"], "vllm", RealClock()) as pages:
            tokens = pages.read_window(1.0)
        assert tokens.source == url
        assert "secret" not in repr(tokens)


def test_a_page_that_fails_amid_the_window_loses_nothing(server, monkeypatch):
    monkeypatch.setattr("energy_agent.sdk.measure.token_endpoints._PERIOD_S", 0.0)
    monkeypatch.setattr("energy_agent.sdk.measure.token_endpoints._SHORTEST_S", 0.01)
    with TokenEndpoints([serve(server, vllm(100))], "vllm", RealClock()) as pages:
        serve(server, b"broken")
        before = len(server.requests)
        eventually(lambda: len(server.requests) > before + 1)
        serve(server, vllm(160))
        assert pages.read_window(1.0).generation == 60


def test_wrong_usage():
    for urls, kind, words in (
        (["ftp://a/metrics"], "vllm", "https://"), (["http://me:secret@a/m"], "vllm", "without user"),
        (["http://a/m"] * 2, "vllm", "twice"), (["http://a/m"], "mapping", ": dynamo"), (["http://a/m"], "no", ": dynamo"),
    ):  # fmt: skip
        reason = refusal(TokenEndpoints, urls, kind, RealClock())
        assert words in reason
        assert "secret" not in reason
