"""Power equipment and cooling units by Redfish, from a small real service that serves what a test says and counts log-ins."""

import http.server
import itertools
import json
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.redfish import SPEC, EquipmentRedfishConfig, Resolution

PDU, CDU = "/redfish/v1/PowerEquipment/RackPDUs/1", "/redfish/v1/ThermalEquipment/CDUs/A"
METER = MeterConfig(id="rack-7", role="it", position="pdu_output", accuracy_percent=1, timeout_s=60, max_power_w=20_000)


def sensor_texts(power_w, energy_kwh, **more):
    """The two sensor excerpts, written as text: a JSON number is what it looks like."""
    energy = {"Reading": energy_kwh} if energy_kwh is not None else {}
    return {"PowerWatts": {"Reading": power_w}, "EnergykWh": energy | more}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.users and self.headers.get("X-Auth-Token") not in self.server.tokens:
            self.answer(401, b"")
        elif self.path not in self.server.resources:
            self.answer(404, b"")
        else:
            body = self.server.resources[self.path]
            self.answer(200, body if isinstance(body, bytes) else json.dumps(body).encode())

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.users.get(asked["UserName"]) != asked["Password"]:
            return self.answer(401, b"")
        token = f"t{len(self.server.tokens)}"
        self.server.tokens.add(token)
        return self.answer(201, b"{}", {"X-Auth-Token": token, "Location": f"/redfish/v1/SessionService/Sessions/{token}"})

    def do_DELETE(self):
        self.server.tokens.discard(self.path.rpartition("/")[2])
        self.answer(204, b"")

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def service():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.users, server.tokens = {}, set()
    server.resources = {
        PDU: {"Id": "1", "Status": {"State": "Enabled"}, "Metrics": {"@odata.id": f"{PDU}/Metrics"},
              "Mains": {"@odata.id": f"{PDU}/Mains"}, "Outlets": {"@odata.id": f"{PDU}/Outlets"}},
        f"{PDU}/Metrics": sensor_texts(6438, 325_675.5),
        f"{PDU}/Mains": {"Members": [{"@odata.id": f"{PDU}/Mains/AC1"}, {"@odata.id": f"{PDU}/Mains/AC2"}]},
        f"{PDU}/Mains/AC1": sensor_texts(4000, 200_000.5),
        f"{PDU}/Mains/AC2": sensor_texts(2438, 125_675),
        f"{PDU}/Outlets": {"Members": [{"@odata.id": f"{PDU}/Outlets/A1"}]},
        f"{PDU}/Outlets/A1": sensor_texts(197.4, 36_166.25),
        CDU: {"Id": "A", "EnvironmentMetrics": {"@odata.id": f"{CDU}/EnvironmentMetrics"}},
        f"{CDU}/EnvironmentMetrics": sensor_texts(1200, 555.125),
    }  # fmt: skip
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def source(service, equipment="RackPDUs/1", meter=METER, **more):
    section = EquipmentRedfishConfig(
        url=f"http://127.0.0.1:{service.server_address[1]}", equipment=equipment, **{"auth": "none"} | more
    )
    return SPEC.open(section, meter, RealClock())


def read(service, **more):
    meter = source(service, **more)
    (reading,) = meter.read()
    meter.close()
    return reading


@pytest.mark.parametrize(
    ("where", "watts", "kwh", "step_kwh"),
    [
        ({}, 6438, "325675.5", "0.1"),
        ({"equipment": PDU}, 6438, "325675.5", "0.1"),
        ({"outlet": "A1"}, 197.4, "36166.25", "0.01"),
        ({"mains": "AC2"}, 2438, "125675", "1"),
        ({"equipment": "CDUs/A"}, 1200, "555.125", "0.001"),
    ],
)
def test_equipment_outlet_feed_and_cooling_unit(service, where, watts, kwh, step_kwh):
    reading = read(service, **where)
    assert (reading.domain, reading.scope) == ("rack-7", Scope.FACILITY)
    assert (reading.power_mw, reading.energy_uj) == (round(watts * 1000), int(Decimal(kwh) * UJ_PER_KWH))
    assert (reading.step_uj, reading.wrap_uj, reading.max_mw) == (int(Decimal(step_kwh) * UJ_PER_KWH), None, 20_000_000)


def test_without_metrics_the_feeds_are_added_and_each_is_required(service):
    del service.resources[PDU]["Metrics"]
    reading = read(service)
    assert (reading.power_mw, reading.energy_uj) == (6_438_000, None)
    service.resources[f"{PDU}/Mains/AC2"] = {"Status": {"State": "Absent"}}
    assert read(service).power_mw == 4_000_000
    service.resources[f"{PDU}/Mains/AC2"] = {"Status": {"State": "Enabled"}}
    with pytest.raises(MeterError, match="feed 'AC2' does not report its power"):
        read(service)


def test_non_resettable_register_is_preferred_and_kept(service):
    service.resources[f"{PDU}/Metrics"] = sensor_texts(6438, 5.5, LifetimeReading=325_675.5)
    meter = source(service)
    assert meter.read()[0].energy_uj == int(Decimal("325675.5") * UJ_PER_KWH)
    service.resources[f"{PDU}/Metrics"] = sensor_texts(6438, 5.5)
    with pytest.raises(MeterError, match=r"no longer reports its EnergykWh\.LifetimeReading"):
        meter.read()


def test_coarse_energy_waits_until_it_has_shown_a_finer_step_unless_there_is_no_power(service):
    meter = source(service)
    for kwh, energy_kwh in ((0, None), (36_000, None), (36_010, None), (36_011, 36_011), (36_020, 36_020)):
        service.resources[f"{PDU}/Metrics"] = sensor_texts(6438, kwh)
        reading = meter.read()[0]
        assert (reading.power_mw, reading.energy_uj) == (6_438_000, None if energy_kwh is None else energy_kwh * UJ_PER_KWH)
    service.resources[f"{PDU}/Metrics"] = sensor_texts(None, 36_000)
    reading = read(service)
    assert (reading.power_mw, reading.energy_uj, reading.step_uj) == (None, 36_000 * UJ_PER_KWH, 1_000 * UJ_PER_KWH)


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(0, 5))
def test_no_value_lies_between_two_steps(counts, digits):
    resolution = Resolution()
    values = [Decimal(count).scaleb(-digits) for count in counts]
    steps = [resolution.step(value) for value in values]
    known_steps = [step for step, upto in zip(steps, itertools.accumulate(values, max), strict=True) if upto]
    assert known_steps == sorted(known_steps, reverse=True)  # until a value other than 0, no step is known
    assert all(value % steps[-1] == 0 for value in values)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (sensor_texts(6438, -5), "energy -5 is negative"),
        (sensor_texts(20_001, 5), "the maximum of 20000 W"),
        (sensor_texts("6438", "5"), "no longer reports"),
        (sensor_texts(None, None), "no longer reports"),
        ({}, "no longer reports"),
        (sensor_texts(True, True), "no longer reports"),
        (b'{"EnergykWh": {"Reading": 1e999999999}}', "no longer reports"),
        (b'{"EnergykWh": {"Reading": NaN}}', "no longer reports"),
        (b"[]", "expected a JSON object"),
        (b"{" * 100_000, "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b" " * (2 << 20), "larger than"),
    ],
)
def test_implausible_response_has_one_reason_and_the_meter_recovers(service, body, reason):
    good = service.resources[f"{PDU}/Metrics"]
    meter = source(service)
    meter.read()
    service.resources[f"{PDU}/Metrics"] = body
    with pytest.raises(MeterError, match=reason) as error:
        meter.read()
    assert "\n" not in str(error.value)
    service.resources[f"{PDU}/Metrics"] = good
    assert meter.read()[0].power_mw == 6_438_000


@pytest.mark.parametrize("watts", [None, "6438", True, [], 10**30, b"1e999999999", b"NaN", b"-Infinity"])
def test_power_that_is_no_number_is_no_power(service, watts):
    text = watts.decode() if isinstance(watts, bytes) else json.dumps(watts)
    service.resources[f"{PDU}/Metrics"] = f'{{"PowerWatts": {{"Reading": {text}}}}}'.encode()
    with pytest.raises(MeterError, match="neither energy nor power"):
        read(service)


def test_a_number_that_is_nearly_nothing_is_nothing(service):
    service.resources[f"{PDU}/Metrics"] = b'{"PowerWatts": {"Reading": 1e-999999999}, "EnergykWh": {"Reading": 1e-999999999}}'
    reading = read(service)
    assert (reading.power_mw, reading.energy_uj, reading.step_uj) == (0, 0, 3)  # the finest plausible step: 1e-12 kWh


def test_what_is_not_there_is_named_with_what_is(service):
    for where, reason in (
        ({"equipment": "RackPDUs/2"}, "status 404"),
        ({"outlet": "Z9"}, "no 'Z9' among its Outlets; available: A1"),
        ({"equipment": "CDUs/A", "outlet": "A1"}, "has no Outlets"),
    ):
        with pytest.raises(MeterError, match=reason):
            read(service, **where)
    service.resources[PDU]["Status"] = {"State": "Absent"}
    with pytest.raises(MeterError, match="is Absent"):
        read(service)


def test_links_of_another_host_are_not_followed(service):
    service.resources[PDU] = {"Metrics": {"@odata.id": "http://127.0.0.1:1/redfish/v1/x"}}
    with pytest.raises(MeterError, match="neither Metrics"):
        read(service)


def test_a_session_is_opened_once_ended_and_opened_anew_when_the_service_forgot_it(service, tmp_path):
    service.users = {"meter": "hunter2hunter2"}
    (tmp_path / "user").write_text("meter\n")
    (tmp_path / "password").write_text("hunter2hunter2\n")
    login = {"auth": "session", "user_file": tmp_path / "user", "password_file": tmp_path / "password"}
    meter = source(service, **login)
    for _ in range(3):
        meter.read()
    assert len(service.tokens) == 1
    service.tokens.clear()
    assert meter.read()[0].power_mw == 6_438_000
    meter.close()
    assert not service.tokens
    (tmp_path / "password").write_text("wrong\n")
    with pytest.raises(MeterError, match="rejects the user name or the password") as error:
        read(service, **login)
    assert "wrong\n" not in str(error.value)


def test_a_message_names_the_key_of_this_meter(service, tmp_path):
    with pytest.raises(UsageError, match=r"meters\.rack-7\.redfish\.user_file"):
        source(service, auth="basic", user_file=tmp_path / "none", password_file=tmp_path / "none")


@pytest.mark.parametrize(
    "wrong",
    [{"equipment": "Racks/1"}, {"equipment": "RackPDUs/"}, {"equipment": "RackPDUs/1/2"}, {"equipment": "/etc/passwd"},
     {"equipment": "RackPDUs/../../x"}, {"equipment": "RackPDUs/1?x"}, {"equipment": "http://evil/redfish/v1/x"},
     {"outlet": "A1", "mains": "AC1"}, {"outlet": "A/1"}, {"url": "http://pdu.example", "auth": "basic"}],
)  # fmt: skip
def test_a_wrong_section_is_refused(wrong):
    section = {"url": "https://pdu.example", "equipment": "RackPDUs/1", "auth": "none"}
    EquipmentRedfishConfig(**section)
    with pytest.raises(ValidationError):
        EquipmentRedfishConfig(**section | wrong)


def test_a_power_that_flows_the_other_way_leaves_the_register_alone(service):
    service.resources[f"{PDU}/Metrics"] = sensor_texts(-1, 5)
    (reading,) = source(service).read()
    assert reading.power_mw is None
    assert reading.energy_uj == 5 * 3_600_000_000_000
