"""Electricity Maps' API against a double: a real HTTP server on loopback that responds as documented, or wrongly.

The tests do not contact the real service, because they have no API key.
"""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import is_printable
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.site.grid.source import GridError
from energy_agent.site.grid.sources.electricity_maps import SPEC, ElectricityMaps
from tests.energy_agent.site.grid.sources.electricity_maps_double import KEY, Double, intensity, say
from tests.support import LONG_NUMBERS_REFUSED

HOUR_NS = 3_600_000_000_000
NOW_NS = 1_795_667_000_000_000_000  # 2026-11-26T04:23:20Z


class Clock:
    """A clock that stands still."""

    def __init__(self, now_ns: int = NOW_NS) -> None:
        self.now_ns = now_ns

    def utc_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def double():  # type: ignore[no-untyped-def]
    new_double = Double()
    yield new_double
    new_double.stop()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


def source(double: Double, key: Path, **more: object):  # type: ignore[no-untyped-def]
    section = {"zone": "DE", "boundary": "life-cycle", "key_file": key, "url": double.url, "timeout_s": 60} | more
    return SPEC.open(ElectricityMaps(**section), Clock())


def utc(t_ns: int) -> datetime:
    return datetime.fromtimestamp(t_ns // 10**9, UTC)


def test_the_last_hours_that_are_over(double: Double, key: Path) -> None:
    opened = source(double, key, lookback_h=12)
    points = opened.read()
    assert [(p.start_ns, p.end_ns - p.start_ns) for p in points] == [
        (NOW_NS // HOUR_NS * HOUR_NS - n * HOUR_NS, HOUR_NS) for n in range(12, 0, -1)
    ]
    assert [p.g_per_kwh for p in points] == [Decimal(str(intensity(utc(p.start_ns)))) for p in points]
    assert {p.known_ns for p in points} == {NOW_NS}
    assert double.asked == [
        {
            "path": "/v3/carbon-intensity/past-range", "zone": "DE", "start": "2026-11-25T16:00:00Z",
            "end": "2026-11-26T04:00:00Z",
            "temporalGranularity": "hourly", "emissionFactorType": "lifecycle", "disableEstimations": "false",
        }
    ]  # fmt: skip
    assert (opened.about.zone, opened.about.basis) == ("DE", Basis(EmissionBoundary.LIFE_CYCLE))
    opened.close()


def test_estimates_are_marked_with_their_method(double: Double, key: Path) -> None:
    points = source(double, key, lookback_h=24).read()
    assert [(utc(p.start_ns).hour, p.method) for p in points if p.estimated] == [(5, "TIME_SLICER_AVERAGE")]
    assert {p.method for p in points if not p.estimated} == {""}


def test_direct_emissions_are_requested(double: Double, key: Path) -> None:
    opened = source(double, key, boundary="direct", estimates=False, lookback_h=2)
    assert len(opened.read()) == 2
    assert (double.asked[0]["emissionFactorType"], double.asked[0]["disableEstimations"]) == ("direct", "true")


def test_month_is_requested_in_ten_day_parts(double: Double, key: Path) -> None:
    start_ns = NOW_NS // HOUR_NS * HOUR_NS - 30 * 24 * HOUR_NS - 5 * HOUR_NS
    points = source(double, key).read_between(start_ns, NOW_NS // HOUR_NS * HOUR_NS)
    assert len(points) == 30 * 24 + 5
    assert len(double.asked) == 4


def test_the_hash_is_of_the_answer_s_bytes(double: Double, key: Path) -> None:
    page = {"zone": "DE", "data": [{"datetime": "2026-11-26T03:00:00.000Z", "carbonIntensity": 300}]}
    body = json.dumps(page, indent=3).encode()
    double.lie = lambda handler: say(handler, 200, body)
    (point,) = source(double, key).read()
    assert (point.raw_sha256, str(point.g_per_kwh)) == (hashlib.sha256(body).hexdigest(), "300")


def test_the_list_of_the_last_day_s_endpoint_is_read_as_well(double: Double, key: Path) -> None:
    row = {"datetime": "2026-11-26T03:00:00.000Z", "carbonIntensity": 1.5}
    double.lie = lambda handler: say(handler, 200, {"zone": "DE", "history": [row]})
    assert [p.g_per_kwh for p in source(double, key).read()] == [Decimal("1.5")]


def test_hours_without_a_value_are_left_out_and_so_is_what_has_not_passed(double: Double, key: Path) -> None:
    rows = [{"datetime": f"2026-11-26T0{h}:00:00Z", "carbonIntensity": v} for h, v in enumerate([None, 0, 5, 6, 7])]
    double.lie = lambda handler: say(handler, 200, {"data": rows})
    assert [p.g_per_kwh for p in source(double, key).read()] == [5, 6]  # over a life cycle 0 is a gap, and 04:00 is not over
    assert [p.g_per_kwh for p in source(double, key, boundary="direct").read()] == [0, 5, 6]


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "rejects the key in"),
        (403, {}, "does not allow past hours of zone DE"),
        (404, {}, "does not know zone 'DE'"),
        (429, {"Retry_After": "120"}, "too many requests with this key; the server requests a retry in 120 s"),
        (429, {"Retry_After": KEY}, "too many requests with this key; increase"),
        (500, {}, "server error (status 500)"),
        (503, {}, "server error (status 503)"),
        (302, {"Location": "http://127.0.0.1:1/"}, "redirects to another address (status 302)"),
        (418, {}, "responded with status 418"),
    ],
)
def test_each_refusal_has_its_own_reason_and_none_has_the_key(
    double: Double, key: Path, status: int, headers: dict[str, str], words: str
) -> None:
    double.lie = lambda handler: say(handler, status, {"error": f"key {KEY} is bad"}, **headers)
    with pytest.raises(GridError) as caught:
        source(double, key).read()
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(double.asked) == 1


def test_wrong_key_is_rejected_and_reported_without_the_key(double: Double, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("wrong")
    with pytest.raises(GridError, match=r"rejects the key in .*key; is it complete"):
        source(double, tmp_path / "key").read()


@pytest.mark.parametrize("text", ["", "two\nlines", "with space", "tab\there", "naïve", "x" * 5000])
def test_file_without_a_key_is_reported_without_its_content(double: Double, tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(UsageError) as caught:
        source(double, tmp_path / "key").read()
    assert "key_file" in str(caught.value)
    assert not text or text not in str(caught.value)
    assert double.asked == []


def test_missing_key_file_is_reported(double: Double, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        source(double, tmp_path / "key").read()


def rows(**change: object) -> dict[str, object]:
    row = {"zone": "DE", "datetime": "2026-11-26T03:00:00.000Z", "carbonIntensity": 300, "isEstimated": False}
    return {"data": [row | change]}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<html>", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"data": [{"carbonIntensity": NaN}]}', "is not JSON"),
        (b'{"data": ' + b"[" * 200_000, "is not JSON"),
        (b'{"data": [{"carbonIntensity": 1' + b"0" * 5000 + b"}]}", "is not JSON" if LONG_NUMBERS_REFUSED else "datetime"),
        (b"[]", "has no list of hours"),
        (b'{"data": {"a": 1}}', "has no list of hours"),
        (b'{"data": [1]}', "has no list of hours"),
        ({"data": [{}] * 500}, "has 500 hours, more than requested"),
        (rows(zone="FR"), "expected zone DE"),
        (rows(zone=None), "expected zone DE"),
        (rows(emissionFactorType="direct"), "expected emissionFactorType lifecycle"),
        (rows(datetime="2026-11-26T03:30:00Z"), "expected a full UTC hour"),
        (rows(datetime="2026-13-26T03:00:00Z"), "expected a full UTC hour"),
        (rows(datetime="yesterday"), "expected a full UTC hour"),
        (rows(datetime=5), "expected a full UTC hour"),
        (rows(datetime="2026-11-26T03:00:00+02:00"), "expected a full UTC hour"),
        (rows(datetime="2020-01-01T00:00:00Z"), "a time that was not requested"),
        (rows(datetime="2099-01-01T00:00:00Z"), "a time that was not requested"),
        (rows(carbonIntensity="300"), "expected a number"),
        (rows(carbonIntensity=True), "expected a number"),
        (rows(carbonIntensity=[300]), "expected a number"),
        (rows(carbonIntensity=-1), "implausible intensity"),
        (rows(carbonIntensity=1e30), "implausible intensity"),
        (b'{"data": [{"datetime": "2026-11-26T03:00:00Z", "carbonIntensity": 1e999999}]}', "implausible intensity"),
        (rows(isEstimated="no"), "expected true or false"),
        ({"data": [*rows()["data"], *rows(carbonIntensity=301)["data"]]}, "two values for one hour"),  # type: ignore[misc]
    ],
)  # fmt: skip
def test_a_hostile_answer_is_one_clear_reason(double: Double, key: Path, page: object, words: str) -> None:
    double.lie = lambda handler: say(handler, 200, page)
    with pytest.raises(WattlensError) as caught:
        source(double, key).read()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_method_is_cut_to_what_can_be_printed(double: Double, key: Path) -> None:
    double.lie = lambda handler: say(handler, 200, rows(isEstimated=True, estimationMethod="\x1b[31m\nM" + "x" * 1000))
    (point,) = source(double, key).read()
    assert is_printable(point.method)
    assert len(point.method) <= 80


def test_incomplete_response_is_reported(double: Double, key: Path) -> None:
    def stop(handler) -> None:  # type: ignore[no-untyped-def]
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b'{"data": []}')

    double.lie = stop
    with pytest.raises(GridError, match="response is incomplete"):
        source(double, key).read()


def test_the_key_goes_over_the_network_encrypted_alone(key: Path) -> None:
    with pytest.raises(ValueError, match="in clear text"):
        ElectricityMaps(zone="DE", boundary="direct", key_file=key, url="http://api.example")


def test_source_without_a_zone_is_reported(key: Path) -> None:
    with pytest.raises(UsageError, match="set its zone and boundary"):
        SPEC.open(ElectricityMaps(key_file=key), Clock())
