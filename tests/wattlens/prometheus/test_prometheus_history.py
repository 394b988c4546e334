"""The reader of raw samples against a server that says whatever a test wants; a real Prometheus is in tests/peers."""

import json
import re
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import is_printable
from energy_agent.runtime.network.http import BODY_LIMIT_B, HttpResponse
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory, TooMuchError, number, selector

S = 1_000_000_000
T0 = 1_767_225_600


class Store:
    """A counter that rises by 1 a second, as a Prometheus answers it; `say` may answer in its stead: (status, body)."""

    def __init__(self):
        self.asked, self.say, self.headers = [], None, []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer({k: v[0] for k, v in parse_qs(body.decode()).items()} | {"path": self.path})

            def do_GET(self):
                parts = urlsplit(self.path)
                self.answer({k: v[0] for k, v in parse_qs(parts.query).items()} | {"path": parts.path})

            def answer(self, form):
                store.asked.append(form)
                store.headers.append(dict(self.headers))
                reply = store.say(form) if store.say else None
                status, body = (
                    reply if reply is not None else (200, json.dumps({"status": "success", "data": store.data(form)}))
                )
                self.send_response(status)
                body = body if isinstance(body, bytes) else body.encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def data(self, form):
        end = float(form["time"])
        span = int(re.search(r"\[(\d+)ms\]", form["query"])[1]) / 1000
        times = [t for t in range(T0, T0 + 10_000) if end - span <= t <= end]
        if "count_over_time" in form["query"]:
            return {"resultType": "vector", "result": [{"metric": {}, "value": [end, str(len(times))]}]}
        values = [[t, str(t - T0)] for t in times]
        return {
            "resultType": "matrix",
            "result": [{"metric": {"__name__": "c", "uuid": "GPU-1"}, "values": values}] if values else [],
        }


@pytest.fixture
def store():
    prometheus_store = Store()
    yield prometheus_store
    prometheus_store.server.shutdown()
    prometheus_store.server.server_close()


def history(store, **more):
    pauses = []
    return PrometheusHistory(PrometheusAccess(store.url, timeout_s=60), pause=pauses.append, **more), pauses


def ask(reader, first=0, last=600):
    return reader.samples("c", {"uuid": "GPU-1"}, (T0 + first) * S, (T0 + last) * S)


def whole(series, first=0, last=600):
    assert [(s.labels, s.samples) for s in series] == [
        ({"__name__": "c", "uuid": "GPU-1"}, tuple(((T0 + t) * S, str(t)) for t in range(first, last + 1)))
    ]


def test_samples_come_raw_by_instant_queries_of_ranges(store):
    reader, _ = history(store)
    whole(ask(reader))
    count, values = store.asked
    assert values["query"] == 'c{uuid="GPU-1"}[600000ms]'
    assert (values["path"], values["time"]) == ("/api/v1/query", f"{T0 + 600}.000")
    assert (values["partial_response"], values["max_source_resolution"]) == ("false", "0s")  # Thanos: all of it, and raw
    assert count["query"] == 'sum(count_over_time(c{uuid="GPU-1"}[600000ms])) or vector(0)'
    assert reader.requests == 2


def test_range_is_split_to_limit_samples_per_response(store):
    reader, _ = history(store, samples_max=100)
    whole(ask(reader))  # a sample at a cut comes with both of its parts, and is there once
    spans = [int(re.search(r"\[(\d+)ms\]", f["query"])[1]) for f in store.asked[1:]]
    assert sum(spans) == 600_000
    assert max(spans) <= 100_000


def test_a_range_is_halved_where_the_server_refuses_it(store):
    def say(form):
        span = int(re.search(r"\[(\d+)ms\]", form["query"])[1])
        if span > 150_000:
            return 422, json.dumps({"status": "error", "errorType": "execution", "error": "too many samples into memory"})
        return None

    store.say = say
    reader, pauses = history(store)
    whole(ask(reader))
    assert pauses == []
    store.say = lambda _: (422, json.dumps({"status": "error", "error": "query processing would load too many samples"}))
    with pytest.raises(TooMuchError, match="would load too many samples"):
        ask(reader)


def test_oversized_response_is_requested_in_parts(store):
    padding = " " * BODY_LIMIT_B

    def say(form):
        span = int(re.search(r"\[(\d+)ms\]", form["query"])[1])
        large = span > 150_000 and "count" not in form["query"]
        return (200, json.dumps({"status": "success", "data": store.data(form)}) + padding) if large else None

    store.say = say
    whole(ask(history(store)[0]))


def test_busy_server_is_retried_with_growing_pauses_and_a_limit(store):
    answers = iter([503, 429, 502])
    store.say = lambda form: (status, "busy") if (status := next(answers, None)) else None
    reader, pauses = history(store)
    whole(ask(reader))
    assert pauses == [1.0, 2.0, 4.0]
    store.say = lambda _: (503, json.dumps({"status": "error", "error": "still loading"}))
    with pytest.raises(WattlensError, match="still loading"):
        ask(reader)
    assert len(pauses) == 3 + 4


def test_refused_connection_fails_at_once_or_after_retries_if_it_worked_before(store):
    reader, pauses = history(store)
    ask(reader)
    store.server.shutdown()
    store.server.server_close()
    with pytest.raises(WattlensError, match=rf"^{store.url}: connection refused; gave up after 5 attempts$"):
        ask(reader)
    assert len(pauses) == 4
    reader, pauses = history(store)
    with pytest.raises(WattlensError, match=rf"^{store.url}: connection refused$"):
        ask(reader)
    assert pauses == []


WRONG = [
    (404, "<html>", "HTTP 404"),
    (400, '{"status":"error","error":"1:3: parse error\\n\\u001b[31m"}', r"1:3: parse error  \[31m$"),
    (200, "<html>", "HTTP 200, which is not a response of the HTTP API of Prometheus"),
    (200, '{"status":"success","data":{"resultType":"vector","result":{}}}', "is not a vector"),
    (200, '{"status":"success","data":{"resultType":"vector","result":[7]}}', "not an object"),
    (200, '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2,3]}]}}', "not a pair"),
    (
        200,
        '{"status":"success","data":{"resultType":"vector","result":[{"metric":[],"value":[1,"2"]}]}}',
        "a series has no labels",
    ),
    (
        200,
        '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"2"]}]}}',
        "not a short text",
    ),
    (200, "[" * 100_000, "not a response of the HTTP API"),
    (200, '{"status":"success","warnings":["a store did not answer"],"data":{}}', "may be incomplete: a store did not answer"),
]


@pytest.mark.parametrize(("status", "body", "message"), WRONG)
def test_an_answer_that_makes_no_sense_or_may_lack_a_part_is_refused(store, status, body, message):
    store.say = lambda _: (status, body)
    with pytest.raises(WattlensError, match=message) as error:
        ask(history(store)[0])
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_hint_about_a_query_is_no_missing_part(store):
    hint = ["PromQL info: metric might not be a counter"]
    store.say = lambda form: (200, json.dumps({"status": "success", "warnings": hint, "data": store.data(form)}))
    whole(ask(history(store)[0]))


def test_values_are_exact_and_times_are_to_the_millisecond(store):
    values = [[T0 + 0.123, "9007199254740993"], [T0 + 1.5, "NaN"], [T0 + 2, "1.000001"]]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    store.say = lambda form: None if "count" in form["query"] else (200, json.dumps({"status": "success", "data": data}))
    ((_, samples),) = [(s.labels, s.samples) for s in ask(history(store)[0])]
    assert [t for t, _ in samples] == [T0 * S + 123_000_000, T0 * S + 1_500_000_000, (T0 + 2) * S]
    assert [number(text) for _, text in samples] == [Decimal(9007199254740993), None, Decimal("1.000001")]


texts = st.sampled_from(["", "1", "NaN", "x", "success", "matrix", "vector", "1e400", "é", "\ud800"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "values", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
nearly = st.fixed_dictionaries({"status": st.just("success"), "data": st.fixed_dictionaries(
    {"resultType": st.sampled_from(["matrix", "vector"]), "result": st.lists(anything | st.fixed_dictionaries(
        {"metric": st.dictionaries(texts, texts, max_size=2), "value": anything, "values": st.lists(anything, max_size=2)}))}
)})  # fmt: skip


@given(answer=anything | nearly)
def test_any_server_response_gives_samples_or_one_line(answer):
    reader = PrometheusHistory(PrometheusAccess("http://127.0.0.1:1"))
    reader._ask = lambda *_: HttpResponse(200, "OK", {}, json.dumps(answer).encode())
    messages = []
    for look in (
        lambda: reader.instant("up", T0 * S),
        lambda: reader._collect("up", T0 * S, (T0 + 600) * S, {}),
        lambda: reader.label_values("job", "up", 0, T0 * S),
        lambda: reader.series("up", 0, T0 * S),
        lambda: ask(reader),
    ):
        try:
            result = look()
        except WattlensError as error:
            messages.append(str(error))
        else:
            json.dumps(result, default=str, ensure_ascii=False).encode()  # no lone surrogate, which no segment could hold
    assert all(is_printable(line) for line in messages)


@pytest.mark.parametrize("text", ["", "x", "Inf", "-Inf", "NaN", "1e400", "1_0 0"])
def test_what_is_no_finite_number_is_none(text):
    assert number(text) is None


def test_a_secret_comes_from_a_file_and_stands_in_no_message(store, tmp_path):
    (tmp_path / "token").write_text("open sesame\n")
    access = PrometheusAccess(store.url, timeout_s=60, token_file=tmp_path / "token")
    ask(PrometheusHistory(access))
    assert {headers["Authorization"] for headers in store.headers} == {"Bearer open sesame"}
    store.say = lambda _: (401, "who are you")
    with pytest.raises(WattlensError) as error:
        ask(PrometheusHistory(access))
    assert "sesame" not in str(error.value)
    (tmp_path / "token").unlink()
    with pytest.raises(UsageError, match="--token-file"):
        ask(PrometheusHistory(access))


def test_user_and_password_of_one_line_are_sent_as_basic(store, tmp_path):
    (tmp_path / "user").write_text("Aladdin:open sesame\n")
    ask(PrometheusHistory(PrometheusAccess(store.url, timeout_s=60, user_file=tmp_path / "user")))
    assert store.headers[0]["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617's example
    (tmp_path / "user").write_text("Aladdin\n")
    with pytest.raises(UsageError, match=r"--user-file .* user:password"):
        ask(PrometheusHistory(PrometheusAccess(store.url, timeout_s=60, user_file=tmp_path / "user")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "prometheus:9090"}, "expected an http:// or https:// URL"),
        ({"url": "http://user:secret@prometheus"}, "expected an http:// or https:// URL"),
        ({"url": "http://prometheus/?a=b"}, "expected an http:// or https:// URL"),
        ({"user_file": "u"}, "unencrypted"),
        ({"user_file": "u", "token_file": "t"}, "--token-file: cannot be combined with --user-file"),
        ({"token_file": "t"}, "unencrypted"),
    ],
)
def test_invalid_access_is_refused_before_any_request(options, message):
    with pytest.raises(UsageError, match=message):
        PrometheusAccess(**{"url": "http://prometheus.example:9090"} | options)
    PrometheusAccess("http://prometheus.example:9090", token_file="t", insecure=True)
    PrometheusAccess("https://prometheus.example", token_file="t")


def test_labels_are_quoted_and_their_names_checked(store):
    assert selector("up", {"job": 'a"b\\c\n'}) == 'up{job="a\\"b\\\\c\\n"}'
    assert selector("up", {"job": "a"}, further='zone=~"D."') == 'up{job="a",zone=~"D."}'
    with pytest.raises(UsageError, match="not the name of a label"):
        selector("up", {'a="b"}': "x"})
    with pytest.raises(UsageError, match="not the name of a label"):
        history(store)[0].label_values("a/b", "up", 0, S)
