"""The Prometheus source against a service that says what it should not, and what a configuration may say."""

import contextlib
import json
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.reading import MeterError
from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._decimal_text import decimal_of
from energy_agent.site.meters._promql import is_selector, looks_back_s
from energy_agent.site.meters.prometheus import SPEC, Prometheus

NOW_S = 1_700_000_000.5


def row(part, value, at_s=NOW_S, **labels):
    return {"metric": {"wattlens_part": part, **labels}, "value": [at_s, value]}


def whole(value="5.25", *, age_s=3, series=1, name="energy"):
    """Rows of a good answer."""
    times = [row(f"{name}_{each}_time", repr(NOW_S - age_s)) for each in ("min", "max")]
    return [row(name, value, id="a"), row(f"{name}_count", "1"), *times, row(f"{name}_count_time", str(series))]


def success(rows, **more):
    return {"status": "success", "data": {"resultType": "vector", "result": rows}, **more}


class Service:
    """A server that returns a given response to every query, and records the queries."""

    def __init__(self):
        self.status, self.body, self.headers, self.drip_s = 200, b"", {}, 0.0
        self.asked = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                service.asked.append((self.path, form, self.headers.get("Authorization")))
                with contextlib.suppress(OSError):
                    if service.drip_s:
                        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1_000:
                            self.wfile.write(bytes([byte]))
                            time.sleep(service.drip_s)
                    self.send_response(service.status)
                    for name, value in service.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(service.body)

            def do_GET(self):  # a client that follows a redirect comes here
                service.asked.append((self.path, {}, self.headers.get("Authorization")))

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def says(self, body):
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def service():
    new_service = Service()
    yield new_service
    new_service.server.shutdown()
    new_service.server.server_close()


def meter(service, *, timeout_s=60.0, **more):
    section = {"url": service.url, "energy_query": "e_total", **more}
    config = MeterConfig(id="m", role="total", accuracy_percent=1, timeout_s=timeout_s, max_power_w=1e6)
    return SPEC.open(Prometheus(**section), config, RealClock())


def test_a_sample_is_read_as_of_its_own_time(service):
    service.says(success(whole(age_s=3)))
    before_ns = time.time_ns()
    (reading,) = meter(service).read()
    assert (reading.energy_uj, reading.step_uj) == (18_900_000_000_000, 36_000_000_000)
    assert before_ns - 3 * 10**9 <= reading.t_ns <= time.time_ns() - 3 * 10**9
    ((path, form, authorization),) = service.asked
    assert (path, authorization) == ("/api/v1/query", None)
    assert "timestamp(e_total)" in form["query"][0]


def test_the_span_of_samples_and_what_a_query_looks_back_is_the_age(service):
    rows = whole(name="power", series=4)
    rows[2] = row("power_min_time", repr(NOW_S - 20))
    service.says(success(rows))
    more = {"power_query": "sum(rate(x_total[5m] offset 1m))", "samples": "x_total", "series": 4}
    (reading,) = meter(service, energy_query=None, **more).read()
    assert 377 * 10**9 <= reading.age_ns < 378 * 10**9  # 17 s between the samples, 5 min and 1 min


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not from Prometheus"),
        (b"[" * 100_000, "not from Prometheus"),
        (b"x" * (2 << 20), "larger than 1048576 bytes"),
        ({"status": "error", "error": "1:5: parse\nerror"}, "status 200: 1:5: parse error"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "expected a vector"),
        (success([[]]), "expected a vector"),
        (success([{"metric": {}, "value": [1, 2, 3]}]), "expected a vector"),
        (success([row("energy", "5", float("nan"))]), "expected a time"),
        (success([row("energy", "5", 1e300)]), "expected a time"),
        (success([]), "energy_query returned no series"),
        (
            success([row("energy", "5"), row("energy", "6"), row("energy_count", "12000")]),
            "expected 1 series, got 12000",
        ),
        (success([row("energy", "5"), row("energy_count", "+Inf")]), "returned no series"),
        (success([{"metric": {"wattlens_part": "energy"}, "histogram": [1, {}]}, row("energy_count", "1")]), "a histogram"),
        (success(whole(series=0)), "samples: expected 1 series as set in `series`, got 0"),
        (success([*whole()[:2], row("energy_count_time", "1")]), "the age of its samples is unknown"),
        (success(whole(age_s=151)), "151 s old, but max_age_s is 150"),
        (success(whole("NaN")), "implausible reading: energy NaN"),
        (success(whole("+Inf")), "implausible reading: energy Infinity"),
        (success(whole("-1")), "is negative"),
        (success(whole("1e300")), "implausible reading"),
        (success(whole("1e999999999")), "expected a number"),
        (success(whole("5" * 70)), "expected a number"),
        (success(whole("five")), "expected a number"),
        (success(whole(), warnings=["one store is gone"]), "may be incomplete: one store is gone"),
    ],
)
def test_invalid_response_has_one_reason(service, body, reason):
    service.says(body)
    reader = meter(service)
    with pytest.raises(MeterError, match=reason) as error:
        reader.read()
    assert "\n" not in str(error.value)
    service.says(success(whole(), warnings=["PromQL info: a hint"]))
    assert reader.read()[0].energy_uj == 18_900_000_000_000


def test_a_redirect_is_not_followed_and_a_dripping_header_ends_in_time(service, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    reader = meter(service, bearer_token_file=tmp_path / "token")
    service.status, service.headers = 302, {"Location": f"{service.url}/elsewhere"}
    with pytest.raises(MeterError, match="status 302"):
        reader.read()
    assert [(path, word) for path, _, word in service.asked] == [("/api/v1/query", "Bearer s3cret")]
    service.drip_s = 0.1
    with pytest.raises(MeterError, match="no response in time"):
        meter(service, timeout_s=2.0).read()


def test_a_secret_is_read_anew_and_never_shown(service, tmp_path):
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("monitor\n")
    reader = meter(service, user_file=user, password_file=password)
    with pytest.raises(UsageError, match="password_file"):
        reader.read()
    password.write_text("hunter2\n")
    service.status = 401
    with pytest.raises(MeterError, match="rejects the token, or the user name or the password") as error:
        reader.read()
    assert "hunter2" not in str(error.value)
    service.status = 200
    service.says(success(whole()))
    assert reader.read()
    assert service.asked[-1][2] == "Basic bW9uaXRvcjpodW50ZXIy"


@pytest.mark.parametrize(
    "query",
    [
        "up",
        "a:b_total",
        'x{a="b"}',
        " x { a = \"b}\" , c=~'d.*', } ",
        '{__name__="x"}',
        '{"my.metric", a!="b"}',
        "x{}",
        'x{a=`b"`}',
    ],
)
def test_a_plain_selector_is_known(query):
    assert is_selector(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{}",
        "sum(x)",
        "x + y",
        "x[5m]",
        "x offset 5m",
        "5",
        'x{a="b"} or y',
        'x{a="b}',
        "x{a}",
        "x y",
        'x{a="b",,}',
        "x # y",
    ],
)
def test_what_is_more_than_a_selector_is_known(query):
    assert not is_selector(query)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("x", 0),
        ('x{a="[5m] offset 1h @ 5"}', 0),
        ("rate(x[1h30m])", 5400),
        ("x offset 5m", 300),
        ("x offset -90s", 90),
        ("max_over_time(rate(x[5m])[1h:1m])", 3900),
        ("rate(x[300])", 300),
        ("x # it's [5m]\n + rate(y[1m])", 60),
    ],
)
def test_how_far_a_query_looks_back(query, seconds):
    assert looks_back_s(query) == seconds


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"energy_query": None}, "nothing would be read"),
        ({"energy_query": "sum(x)"}, "set samples to a selector"),
        ({"energy_query": "sum(x)", "samples": "sum(x)"}, "plain selector"),
        ({"energy_query": "x @ 5", "samples": "x"}, "always returns the same value"),
        ({"energy_query": "rate(x[five])", "samples": "x"}, "expected a duration"),
        ({"url": "ftp://host"}, "expected an http:// or https:// URL"),
        ({"url": "http://me:word@host"}, "expected an http:// or https:// URL"),
        ({"url": "http://host/?a=b"}, "expected an http:// or https:// URL"),
        ({"url": "http://prometheus:9090", "bearer_token_file": "/t"}, "in clear text"),
        ({"user_file": "/u"}, "user_file and password_file"),
        ({"user_file": "/u", "password_file": "/p", "bearer_token_file": "/t"}, "or none of them"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(more, reason):
    with pytest.raises(ValidationError, match=reason):
        Prometheus(**{"url": "http://localhost:9090/prometheus", "energy_query": "x"} | more)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6))
def test_a_number_is_what_was_written(value):
    assert decimal_of(str(value)) == value


@given(st.text(max_size=80) | st.none() | st.integers())
def test_any_text_is_a_number_of_bounded_size_or_refused(text):
    try:
        value = decimal_of(text)
    except MeterError:
        return
    assert value == Decimal(text) or value.is_nan()
    assert not value.is_finite() or int(value) < 10**320
