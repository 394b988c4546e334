"""SNMP meters: responses of a small real device become a reading or a reason; and settings that a section accepts."""

import gc
import threading

import pytest
from pydantic import ValidationError
from pysnmp.proto import rfc1902, rfc1905

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.runtime.clock import RealClock
from energy_agent.site.meters.snmp import SPEC, Snmp
from tests.energy_agent.site.meters.snmp_device import ENERGY, METER, POWER, opened, read
from tests.support import eventually


def test_each_poll_sends_one_request(pdu, community):
    with opened(pdu, community) as source:
        for _ in range(3):
            (reading,) = source.read()
    assert pdu.requests == [[ENERGY, POWER]] * 3
    assert (reading.domain, reading.scope) == ("pdu-1", Scope.FACILITY)
    assert (reading.energy_uj, reading.step_uj, reading.wrap_uj) == (170_982 * UJ_PER_KWH // 10, UJ_PER_KWH // 10, None)
    assert (reading.power_mw, reading.step_mw, reading.max_mw) == (1_850_000, 10_000, 20_000_000)


def test_excluded_quantities_are_not_requested(pdu, community):
    assert read(pdu, community, read="power").energy_uj is None
    assert read(pdu, community, read="energy").power_mw is None
    assert pdu.requests == [[POWER], [ENERGY]]


def test_registers_of_ones_own_with_scale_step_and_wrap(pdu, community):
    register = {"oid": ".1.3.6.1.4.1.9.{row}", "unit": "Wh", "scale": 100, "step": 500, "wrap": 10_000}
    pdu.values["1.3.6.1.4.1.9.7"] = rfc1902.Gauge32(9_999)
    reading = read(pdu, community, energy=register, index={"row": 7})
    kwh_100_wh = UJ_PER_KWH // 10
    assert (reading.energy_uj, reading.step_uj, reading.wrap_uj) == (9_999 * kwh_100_wh, 5 * kwh_100_wh, 10_000 * kwh_100_wh)
    pdu.values["1.3.6.1.4.1.9.7"] = rfc1902.Gauge32(10_000)
    with pytest.raises(MeterError, match="which wraps at"):
        read(pdu, community, energy=register, index={"row": 7})


@pytest.mark.parametrize(
    ("value", "wrap"),
    [(rfc1902.Counter32(5), 1 << 32), (rfc1902.Gauge32(5), None), (rfc1902.Unsigned32(5), None), (rfc1902.Counter64(5), None)],
)
def test_a_counter_of_32_bits_wraps_by_its_type(pdu, community, value, wrap):
    pdu.values[ENERGY] = value
    reading = read(pdu, community, energy={"oid": ENERGY, "unit": "Wh"})
    assert reading.energy_uj == 5 * UJ_PER_KWH // 1000
    assert reading.wrap_uj == (None if wrap is None else wrap * UJ_PER_KWH // 1000)


def test_lines_of_a_ups_are_added_and_their_rounding_too(pdu, community):
    for line, watts in ((1, 4000), (2, 3000), (3, 5001)):
        pdu.values[f"1.3.6.1.2.1.33.1.4.4.1.4.{line}"] = rfc1902.Integer32(watts)
    reading = read(pdu, community, profile="ups-output", index={"line": (1, 2, 3)})
    assert (reading.power_mw, reading.step_mw, reading.energy_uj) == (12_001_000, 3_000, None)
    del pdu.values["1.3.6.1.2.1.33.1.4.4.1.4.2"]
    with pytest.raises(MeterError, match=r"has no object 1\.3\.6\.1\.2\.1\.33\.1\.4\.4\.1\.4\.2"):
        read(pdu, community, profile="ups-output", index={"line": (1, 2, 3)})


def raritan(pdu, **more):
    """One inlet that counts with 1 decimal in steps of 5 of them; `more` changes rows by column and sensor type."""
    measured, configured = "1.3.6.1.4.1.13742.6.5.2.3.1", "1.3.6.1.4.1.13742.6.3.3.4.1"
    for kind, unit, value in ((8, 5, 4_294_967_295), (5, 3, 12_345)):
        rows = {
            f"{measured}.4": rfc1902.Unsigned32(value),
            f"{measured}.2": rfc1902.Integer32(1),
            f"{configured}.6": rfc1902.Integer32(unit),
            f"{configured}.7": rfc1902.Unsigned32(1),
            f"{configured}.9": rfc1902.Unsigned32(5),
        }
        pdu.values |= {f"{column}.1.1.{kind}": value for column, value in rows.items()}
    pdu.values |= {oid.format(m=measured, c=configured): value for oid, value in more.items()}


def test_decimal_digits_and_resolution_are_the_devices_own(pdu, community):
    raritan(pdu)
    reading = read(pdu, community, profile="raritan-px-inlet")
    tenth_of_wh = UJ_PER_KWH // 10_000
    assert (reading.energy_uj, reading.step_uj) == (4_294_967_295 * tenth_of_wh, 5 * tenth_of_wh)
    assert reading.wrap_uj == 4_294_967_296 * tenth_of_wh
    assert (reading.power_mw, reading.step_mw) == (1_234_500, 500)
    assert len(pdu.requests) == 1


@pytest.mark.parametrize(
    ("oid", "value", "reason"),
    [
        ("{m}.2.1.1.8", rfc1902.Integer32(2), "SensorIsAvailable: expected"),
        ("{c}.6.1.1.5", rfc1902.Integer32(4), "inletSensorUnits: expected"),
        ("{c}.7.1.1.8", rfc1902.Unsigned32(10), "10 decimal digits"),
        ("{c}.7.1.1.8", rfc1902.Integer32(-1), "-1 decimal digits"),
    ],
)
def test_a_sensor_that_is_not_what_it_should_be_is_not_read(pdu, community, oid, value, reason):
    raritan(pdu, **{oid: value})
    with pytest.raises(MeterError, match=reason):
        read(pdu, community, profile="raritan-px-inlet")


LIES = [
    (rfc1905.noSuchObject, f"has no object {ENERGY} (NoSuchObject)"),
    (rfc1905.noSuchInstance, f"has no object {ENERGY} (NoSuchInstance)"),
    (rfc1905.endOfMibView, f"has no object {ENERGY} (EndOfMibView)"),
    (rfc1902.OctetString("170982"), "expected a whole number, got OctetString"),
    (rfc1902.TimeTicks(170_982), "expected a whole number, got TimeTicks"),
    (rfc1902.ObjectIdentifier("1.3.6"), "expected a whole number, got ObjectIdentifier"),
    (rfc1902.IpAddress("10.0.0.1"), "expected a whole number, got IpAddress"),
    (rfc1902.Opaque(b"\x9fx\x04\x43\x2d\x00\x00"), "expected a whole number, got Opaque"),
    (rfc1902.Null(""), "expected a whole number, got Null"),
    (rfc1902.Integer32(-2), "rPDU2DeviceStatusEnergy is -2"),
    (rfc1902.Integer32(-1), "does not measure energy (rPDU2DeviceStatusEnergy is -1); set read: power"),
]


@pytest.mark.parametrize(("value", "reason"), LIES, ids=[reason for _, reason in LIES])
def test_a_lie_is_one_reason_and_the_truth_is_read_again(pdu, community, value, reason):
    with opened(pdu, community) as source:
        source.read()
        pdu.values[ENERGY] = value
        with pytest.raises(MeterError) as error:
            source.read()
        assert reason in str(error.value)
        assert "\n" not in str(error.value)
        pdu.values[ENERGY] = rfc1902.Integer32(170_983)
        assert source.read()[0].energy_uj == 170_983 * UJ_PER_KWH // 10


def test_more_power_than_can_flow_is_absurd(pdu, community):
    pdu.values[POWER] = rfc1902.Integer32(2_001)
    with pytest.raises(MeterError, match="implausible reading: 20010 W, above the maximum of 20000 W"):
        read(pdu, community)


def test_closing_leaves_no_thread_and_no_socket(pdu, community):
    before = set(threading.enumerate())
    for _ in range(3):
        read(pdu, community)
    with opened(pdu, community) as source:
        source.close()  # twice, and never asked
    gc.collect()
    eventually(lambda: set(threading.enumerate()) <= before)


def test_a_host_that_does_not_exist_is_a_reason(pdu, community):
    with pytest.raises(MeterError, match=r"no-such-host\.invalid:"):
        read(pdu, community, host="no-such-host.invalid")


def test_secrets_are_read_from_files_and_never_shown(pdu, community, tmp_path):
    with pytest.raises(UsageError, match=r"meters\.pdu-1\.snmp\.community_file"):
        read(pdu, tmp_path / "none")
    short = tmp_path / "short"
    short.write_text("hunter2\n")
    v3 = Snmp(host="127.0.0.1", user_file=community, auth_key_file=short, priv_key_file=short, profile="apc-rpdu2")
    with pytest.raises(UsageError, match=r"meters\.pdu-1\.snmp\.auth_key_file.*at least 8") as error:
        SPEC.open(v3, METER, RealClock())
    assert "hunter2" not in str(error.value)


def test_values_are_exact(pdu, community):
    register = {"oid": ENERGY, "unit": "kWh", "scale": 0.001}
    pdu.values[ENERGY] = rfc1902.Counter64(9_007_199_254_740_993)  # 2**53 + 1: a float has no such number
    assert read(pdu, community, energy=register).energy_uj == 9_007_199_254_740_993 * UJ_PER_KWH // 1000


GOOD = {"host": "pdu", "version": "2c", "community_file": "/c", "profile": "apc-rpdu2"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"community_file": None}, "community_file missing"),
        ({"version": 3}, "user_file and auth_key_file and priv_key_file missing"),
        ({"version": "3", "user_file": "/u", "auth_key_file": "/a", "privacy": "none"}, "community_file is not used"),
        ({"user_file": "/u"}, "user_file is not used"),
        ({"profile": None}, "either a profile or"),
        ({"power": {"oid": "1.3.6.1", "unit": "W"}}, "not both"),
        ({"profile": None, "power": {"oid": "1.3.6.1", "unit": "Wh"}}, "expected a unit of power, got Wh"),
        ({"profile": None, "energy": {"oid": "1.3.6.1", "unit": "W"}}, "expected a unit of energy, got W"),
        ({"profile": None, "energy": {"oid": "sysDescr", "unit": "J"}}, "expected an OID"),
        ({"profile": None, "energy": {"oid": "1.3.6.{row}", "unit": "J"}}, "index 'row' is missing"),
        ({"profile": "ups-output", "read": "energy"}, "the only register is power"),
        ({"profile": "apc-rpdu"}, "did you mean 'apc-rpdu2'"),
        ({"profile": "../../etc/passwd"}, "unknown profile"),
        ({"index": {"outlet": 1}}, "index 'outlet' is not used; there is: pdu"),
        ({"index": {"pdu": [1, 2]}}, "cannot be added"),
        ({"index": {"pdu": []}}, "empty list"),
        ({"index": {"pdu": True}}, "whole number from 0 to"),
        ({"profile": "ups-output", "index": {"line": [1, -1]}}, "whole number from 0 to"),
        ({"profile": "ups-output", "index": {"line": "1"}}, "whole number from 0 to"),
        ({"profile": "ups-output", "index": {"line": list(range(100))}}, "objects in one request"),
    ],
)
def test_inconsistent_section_is_refused_with_reason(change, reason):
    Snmp(**GOOD)
    with pytest.raises(ValidationError, match=reason):
        Snmp(**GOOD | change)
