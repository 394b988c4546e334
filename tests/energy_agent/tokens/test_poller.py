"""The poller against a real HTTP server whose page moves, breaks and restarts."""

import http.server
import ssl
import threading
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from energy_agent.config.tokens import TokenSource
from energy_agent.core.errors import UsageError
from energy_agent.core.text import is_printable
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.discovery import PORT, SCHEME, PodFacts, sources
from energy_agent.tokens.endpoint import fetch
from energy_agent.tokens.polled_endpoint import NOBODY_NS, PATIENCE_NS
from energy_agent.tokens.poller import TokenPoller
from energy_agent.tokens.response_parser import names_of
from energy_agent.tokens.servers import vllm
from tests.certificates import Authority
from tests.doubles.page_server import PageServer
from tests.raw_server import OK, RawServer
from tests.support import eventually, free_port


class MetricsServer(PageServer):
    """Its page is `body`."""

    def __init__(self) -> None:
        self.body = b""
        super().__init__(lambda: self.body)


def page(generation: int, prompt: int = 0) -> bytes:
    lines = [
        "# TYPE vllm:generation_tokens_total counter",
        f'vllm:generation_tokens_total{{model_name="m",engine="0"}} {generation}',
        "# TYPE vllm:prompt_tokens_total counter",
        f'vllm:prompt_tokens_total{{model_name="m",engine="0"}} {prompt}',
    ]
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer() as running:
        yield running


@pytest.fixture
def poller() -> Iterator[TokenPoller]:
    token_poller = TokenPoller(RealClock())
    yield token_poller
    token_poller.stop()


class Counted:
    """Sums of what the poller hands over."""

    def __init__(self, poller):
        self.poller, self.tokens, self.states, self.served = poller, {}, {}, ()

    def drain(self):
        rows, states, self.served = self.poller.drain()
        self.states |= states
        for row in rows:
            assert row.start_ns <= row.end_ns
            self.tokens[row.phase] = self.tokens.get(row.phase, 0) + row.tokens
        return self.tokens


def source(pages, **more):
    return TokenSource(**{"workload": "chat", "url": pages.url, "period_s": 0.5} | more)


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


def test_https_is_verified_as_configured_and_not_for_pods(tmp_path, poller):
    authority = Authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server", "IP:127.0.0.1"))
    with RawServer([OK + b"\r\n" + page(1000, 50)], tls=tls) as server:
        poller.configure([source(server, url=server.url)])
        eventually(lambda: "certificate" in poller.health()[0].reason)
        for more in ({"ca_file": authority.ca}, {"verify": False}):
            poller.configure([source(server, url=server.url, **more)])
            eventually(lambda: poller.health()[0].up)
        poller.configure([])
        pod = PodFacts("ns/chat", "127.0.0.1", {PORT: str(server.port), SCHEME: "https"})
        [discovered], _ = sources([pod], ["vllm"], simulated=True)
        poller.discover([discovered])
        eventually(lambda: poller.health()[0].up)


def test_certificates_for_plain_http_are_refused(server, tmp_path):
    with pytest.raises(ValidationError, match="ca_file"):
        source(server, ca_file=tmp_path / "ca.pem")


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
    assert eventually(lambda: "generation" in counted.drain() and counted.tokens)["generation"] == 0


def test_an_unknown_server_is_named_with_those_there_are(poller, server):
    with pytest.raises(UsageError, match=r"unknown server 'vlm'; known: dynamo, llama_cpp, .*, vllm$"):
        poller.configure([source(server, server="vlm")])


class Hanging(http.server.BaseHTTPRequestHandler):
    """Takes a request and does not answer until the test is over."""

    def do_GET(self):
        self.server.over.wait(300)

    def log_message(self, *_):
        return


def test_a_server_that_hangs_delays_no_other(server, poller):
    server.body = page(5)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as hanging:
        hanging.over, hanging.daemon_threads = threading.Event(), True
        threading.Thread(target=hanging.serve_forever, args=(0.05,), daemon=True).start()
        slow = TokenSource(workload="slow", url=f"http://127.0.0.1:{hanging.server_address[1]}/metrics", period_s=0.5)
        poller.configure([slow, source(server)])
        counted = Counted(poller)
        eventually(lambda: counted.drain().get("generation") == 0)
        server.body = page(25)
        eventually(lambda: counted.drain()["generation"] == 20)
        eventually(lambda: "no response in time" in poller.health()[0].reason)
        eventually(lambda: [h.up for h in poller.health()] == [False, True])
        hanging.over.set()
        hanging.shutdown()


def running(poller) -> list[int | None]:
    return [totals.running for totals in poller.drain()[2]]


GAUGE = b'vllm:num_requests_running{model_name="m",engine="0"} 7\n'


def test_endpoint_that_drips_its_head_is_down_and_its_gauges_are_absent(poller):
    whole = b"HTTP/1.1 200 OK\r\n\r\n" + page(5) + GAUGE
    with RawServer([whole]) as dripping:
        poller.configure([source(dripping)])
        eventually(lambda: running(poller) == [7])
        dripping.pause_s, dripping.parts = 0.02, (b"HTTP/1.1 200 OK\r\nX: ", *[b"y"] * 10_000)
        eventually(lambda: "in time" in poller.health()[0].reason)
        assert not poller.health()[0].up
        eventually(lambda: running(poller) == [None])
        assert poller.latest("chat") is None
        dripping.pause_s, dripping.parts = 0.0, [whole]
        eventually(lambda: running(poller) == [7])


def test_reading_that_never_ends_is_down_until_it_does():
    gate = threading.Event()
    gate.set()

    def fetch_when_open(*_, **__) -> str:
        gate.wait(300)
        return (page(5) + GAUGE).decode()

    poller = TokenPoller(RealClock(), fetch_when_open, hang_s=0.2)
    poller.configure([TokenSource(workload="chat", url="http://127.0.0.1:1/metrics", period_s=0.5)])
    eventually(lambda: running(poller) == [7])
    gate.clear()
    eventually(lambda: running(poller) == [None])
    assert "no response" in poller.health()[0].reason
    assert not poller.health()[0].up
    gate.set()
    eventually(lambda: running(poller) == [7])
    assert poller.health()[0].up
    poller.stop()


def test_absurd_count_is_a_reason_and_nothing_is_recorded(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: counted.drain().get("generation") == 0)
    for absurd in (page(2**53), page(100, 2**52)):
        server.body = absurd
        eventually(lambda: "implausible" in poller.health()[0].reason)
        assert not poller.health()[0].up
    server.body = page(130)
    eventually(lambda: counted.drain()["generation"] == 30)
    server.body = page(2**53)
    eventually(lambda: "implausible" in poller.health()[0].reason)
    server.body = page(7)  # it started again
    eventually(lambda: counted.drain()["generation"] == 37)
    assert counted.tokens["prompt"] == 0


def test_costly_endpoint_is_read_less_often_and_others_are_not(server, poller):
    server.body = page(100)
    lines = b"".join(b'vllm:generation_tokens_total{model_name="m",engine="%d"} 1\n' % n for n in range(250))
    with RawServer([b"HTTP/1.1 200 OK\r\n\r\n" + lines * 39]) as costly:
        poller.configure([source(server), TokenSource(workload="costly", url=costly.url, period_s=0.5)])
        counted = Counted(poller)

        def was_read(times: int) -> bool:
            counted.drain()
            return server.requests >= times

        eventually(lambda: was_read(4) and 2 <= 2 * len(costly.requests) <= server.requests)


def test_too_many_lines_for_all_endpoints_cost_too_much(server, poller):
    server.body = b"".join(b'vllm:generation_tokens_total{model_name="m",engine="%d"} 1\n' % n for n in range(250)) * 3
    others = [TokenSource(workload=f"w{n}", url=f"http://127.0.0.1:1/{n}", period_s=60) for n in range(100)]
    poller.configure([source(server), *others])
    eventually(lambda: "response too large" in poller.health()[0].reason)


def test_another_scraper_changes_nothing(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: "generation" in counted.drain())
    for _ in range(20):
        assert "100" in fetch(server.url, names_of(vllm.SPEC), timeout_s=60.0)
    server.body = page(130)
    fetch(server.url, names_of(vllm.SPEC), timeout_s=60.0)
    eventually(lambda: counted.drain()["generation"] == 30)


def test_a_page_that_is_away_for_a_while_is_one_longer_stretch(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: "generation" in counted.drain())
    server.body = b""
    eventually(lambda: not poller.health()[0].up)
    poller.deltas()
    assert poller.drain()[2][0].waiting is None
    server.body = page(170)
    eventually(lambda: poller.health()[0].up)
    [delta, *_] = eventually(poller.deltas)
    assert (delta.workload, delta.model, delta.generation, delta.live) == ("chat", "m", 70, True)
    assert delta.end_ns > delta.start_ns


def test_phases_are_disjoint_computed_cached_and_generated(server, poller):
    extra = b'vllm:prompt_tokens_cached_total{model_name="m",engine="0"} %d\n'
    server.body = page(0, 100) + extra % 40
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: "prompt" in counted.drain())
    server.body = page(7, 200) + extra % 60
    eventually(lambda: counted.drain() == {"prompt": 80, "cached": 20, "generation": 7})


def test_engines_of_one_workload_on_several_ports_are_summed(server, poller):
    with MetricsServer() as second:
        server.body, second.body = page(100), page(2000)
        counted = Counted(poller)
        poller.configure([source(server, ports=[second.port], group="g", precision="fp8", model="mine")])
        eventually(lambda: len(counted.drain()) and all(h.up for h in poller.health()))
        assert len({h.source for h in poller.health()}) == 2
        server.body, second.body = page(103), page(2030)
        eventually(lambda: counted.drain()["generation"] == 33)
        eventually(lambda: (latest := poller.latest("chat")) is not None and latest.generation == 33)
        assert {(t.model, t.group, t.precision) for t in counted.served} == {("mine", "g", "fp8")}


def test_a_discovered_page_that_is_gone_leaves_an_empty_state(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.discover([source(server)])
    eventually(lambda: "generation" in counted.drain())
    poller.configure([])
    assert len(poller.health()) == 1
    poller.discover([])
    counted.drain()
    assert poller.health() == ()
    assert [(t.counts["generation"], t.running, t.waiting) for t in counted.served] == [(0, None, None)], "its last totals"
    counted.drain()
    assert counted.served == ()
    assert counted.states == {f"chat {server.url}": ""}


def test_configured_workload_is_not_polled_at_its_pods_annotation(server, poller):
    poller.discover([source(server), TokenSource(workload="other", url=server.url)])
    poller.configure([TokenSource(workload="chat", url=server.url + "?configured")])
    assert {h.source for h in poller.health()} == {"tokens:chat", "tokens:other"}, "one page each"


def test_what_the_journal_has_of_pods_that_are_gone_is_let_go_once_pods_are_known(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.restore({"gone http://10.1.2.3:80/metrics": "{}", f"chat {server.url}": "{}"})
    poller.configure([source(server)])
    counted.drain()
    assert "gone http://10.1.2.3:80/metrics" not in counted.states
    poller.discover([])
    counted.drain()
    assert counted.states["gone http://10.1.2.3:80/metrics"] == ""
    assert counted.states.get(f"chat {server.url}") != ""


def test_changed_source_keeps_counting(server, poller):
    server.body = page(100)
    counted = Counted(poller)
    poller.configure([source(server)])
    eventually(lambda: "generation" in counted.drain())
    server.body = page(150)
    poller.configure([source(server, precision="fp8")])
    eventually(lambda: counted.drain()["generation"] == 50)
    poller.stop()
    assert counted.drain()["generation"] == 50


class FastClock(RealClock):
    """A clock that runs a hundred times as fast."""

    def utc_ns(self):
        return super().utc_ns() * 100

    def boot_ns(self):
        return super().boot_ns() * 100


def nobodys(health):
    """Rows that say that a workload holds no GPU."""
    return [row for row in health if row.source.endswith("#workload")]


def test_generating_workload_without_a_gpu_is_reported(server):
    poller = TokenPoller(FastClock())
    try:
        server.body = page(5)
        poller.configure([source(server), TokenSource(workload="engine", url=server.url, group="g", period_s=0.5)])
        eventually(lambda: all(row.up for row in poller.health()))
        began_ns = poller.health()[0].last_success_ns
        eventually(lambda: poller.health()[0].last_success_ns > began_ns + NOBODY_NS)
        assert nobodys(poller.health(())) == [], "it has generated nothing yet"
        server.body = page(50)
        eventually(lambda: [row.source for row in poller.health(()) if not row.up] == ["tokens:chat#workload"])
        eventually(lambda: [r.source for r in nobodys(poller.health({"engine"}))] == ["tokens:chat#workload"])
        eventually(lambda: "wattlens_workload_info" in "".join(row.reason for row in nobodys(poller.health({"engine"}))))
        assert nobodys(poller.health({"chat"})) == []
        assert nobodys(poller.health()) == [], "not known"
    finally:
        poller.stop()


MAPPING = {
    "generation": "vllm:generation_tokens_total", "computed": 'vllm:prompt_tokens_total{engine="0"}', "steps": "stpes_total",
    "itl": "itl_seconds", "model_label": "modle_name", "engine_label": "engine",
}  # fmt: skip


def test_missing_metric_name_of_a_mapping_is_reported(server, poller):
    server.body = page(5)
    poller.configure([source(server, server="mapping", mapping=MAPPING)])

    def missing():
        return {row.source: row.reason for row in poller.health() if not row.up}

    wanted = {"tokens:chat#steps", "tokens:chat#itl", "tokens:chat#model_label"}
    reasons = eventually(lambda: set(current := missing()) == wanted and current)
    assert reasons["tokens:chat#steps"] == "mapping.steps: the response has no metric stpes_total"
    assert reasons["tokens:chat#model_label"] == "mapping.model_label: no series has the label modle_name"
    server.body = page(5) + b"stpes_total 1\n"
    eventually(lambda: "tokens:chat#steps" not in {row.source for row in poller.health()})
    server.body = page(5)  # it was present once: this server exposes the series only sometimes
    seen_ns = poller.health()[0].last_success_ns
    eventually(lambda: poller.health()[0].last_success_ns > seen_ns + 10**9)
    assert "tokens:chat#steps" not in {row.source for row in poller.health()}
    server.body = b""
    eventually(lambda: not poller.health()[0].up)
    assert len(poller.health()) == 1, "of a page that does not answer nothing is known"


class MovedClock(RealClock):
    """The machine's clock, some time later; it hardly goes on, so that no busy machine uses up a patience of seconds."""

    moved_ns, began_ns = 0, RealClock().boot_ns()

    def boot_ns(self) -> int:
        return self.began_ns + (super().boot_ns() - self.began_ns) // 1000 + self.moved_ns


def test_a_page_that_goes_and_comes_back_is_logged_once_each(server, caplog):
    caplog.set_level("INFO", "wattlens.tokens")
    clock = MovedClock()
    poller = TokenPoller(clock)
    server.body = page(5)
    poller.configure([source(server)])
    eventually(lambda: poller.health()[0].up)
    assert caplog.messages == []
    server.body = b"\x1b[31m{"
    eventually(lambda: not poller.health()[0].up)
    before = server.requests
    eventually(lambda: server.requests > before + 2)
    assert caplog.messages == [], "a server that restarts, or a pod that ends, is nobody's fault"
    clock.moved_ns = PATIENCE_NS
    eventually(lambda: caplog.messages)
    before = server.requests
    eventually(lambda: server.requests > before + 2)
    server.body = page(5)
    eventually(lambda: poller.health()[0].up)
    gone, back = eventually(lambda: len(caplog.messages) > 1 and caplog.messages)
    assert gone.startswith(f"cannot read the metrics endpoint of chat {server.url}: ")
    assert is_printable(gone)
    assert back == f"metrics endpoint of chat {server.url}: ok"
    poller.stop()


def test_a_page_that_never_answered_is_logged_at_once(poller, caplog):
    poller.configure([TokenSource(workload="chat", url=f"http://127.0.0.1:{free_port()}/metrics", server="vllm")])
    eventually(lambda: "cannot read the metrics endpoint" in "".join(caplog.messages))


def test_the_end_of_a_pod_is_not_logged(server, caplog):
    clock = MovedClock()
    poller = TokenPoller(clock)
    server.body = page(5)
    poller.discover([source(server)])
    eventually(lambda: poller.health()[0].up)
    server.body = b""
    eventually(lambda: not poller.health()[0].up)
    poller.discover([])
    clock.moved_ns = 2 * PATIENCE_NS
    server.body = page(1)
    poller.discover([source(server, workload="next")])
    eventually(lambda: poller.health()[0].up)
    assert caplog.messages == []
    poller.stop()
