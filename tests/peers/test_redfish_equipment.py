"""PDUs, power shelves and CDUs by Redfish over TLS, against sushy-tools' static service over resources shaped as DMTF's schemas
have them (our own test data): read, slowed, lying, killed in mid-run.
"""

import contextlib
import functools
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from energy_agent.core.meters.reading import MeterError
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.redfish import SPEC, EquipmentRedfishConfig
from tests.peers.meters import read_more, up
from tests.peers.redfish_service import RedfishService
from tests.support import eventually

pytestmark = pytest.mark.peer

MOCKUP = Path(__file__).with_name("redfish-equipment-mockup")
METRICS = "PowerEquipment/RackPDUs/1/Metrics"
METER = MeterConfig(
    id="rack-7", role="it", position="pdu_output", accuracy_percent=1, max_power_w=100_000, period_s=1, timeout_s=2
)  # fmt: skip
LIFETIME_UJ = int(Decimal("325675.125") * UJ_PER_KWH)


def section_of(service, equipment, **more):
    return EquipmentRedfishConfig(**service.section | {"equipment": equipment} | more)


@pytest.fixture
def service(tmp_path):
    redfish = RedfishService(tmp_path, MOCKUP)
    yield redfish
    redfish.stop()


def read(service, equipment, **more):
    """One reading, as soon as the service listens."""
    source = SPEC.open(section_of(service, equipment, **more), METER, RealClock())

    def look():
        try:
            return source.read()[0]
        except MeterError as error:
            if "refused" in str(error) or "in time" in str(error):  # as a busy machine may do
                return None
            raise

    with contextlib.closing(source):
        return eventually(look)


@pytest.mark.parametrize(
    ("equipment", "part", "watts", "kwh"),
    [
        ("RackPDUs/1", {}, 6438, "325675.125"),
        ("RackPDUs/1", {"outlet": "A1"}, 3219.5, "101.75"),
        ("/redfish/v1/PowerEquipment/RackPDUs/1", {"mains": "AC1"}, 6438, "325675.125"),
        ("FloorPDUs/1", {}, 79_300.5, None),
        ("PowerShelves/1", {}, 33_000, None),
        ("CDUs/1", {}, 4200, "88123.5"),
    ],
)
def test_equipment_of_every_kind(service, equipment, part, watts, kwh):
    reading = read(service, equipment, **part)
    assert reading.power_mw == round(watts * 1000)
    assert reading.energy_uj == (None if kwh is None else int(Decimal(kwh) * UJ_PER_KWH))


def test_untrusted_certificate_is_refused_and_names_its_ca_file_key(service):
    read(service, "CDUs/1")
    with pytest.raises(MeterError, match=r"certificate is not trusted.*meters\.rack-7\.redfish\.ca_file"):
        read(service, "CDUs/1", ca_file=None)
    assert read(service, "CDUs/1", ca_file=None, verify=False).power_mw == 4_200_000


def test_killed_slowed_and_lying_in_mid_run(service):
    readings, clock = [], RealClock()
    section = section_of(service, "RackPDUs/1")
    poller = MeterPoller(clock, "meter", [MeterSchedule("rack-7", 1, lambda: SPEC.open(section, METER, clock))])
    poller.start()
    try:
        more = functools.partial(read_more, poller, readings)

        def lie(sensor, key, value):
            service.write(METRICS, lambda body: body[sensor].update({key: value}))

        up(poller)
        more(2)
        service.process.send_signal(signal.SIGSTOP)
        up(poller, False, "in time")
        service.process.send_signal(signal.SIGCONT)
        up(poller)
        for sensor, key, value, true, reason in (
            ("PowerWatts", "Reading", 100_001, 6438, "the maximum of 100000 W"),
            ("EnergykWh", "LifetimeReading", None, 325675.125, "no longer reports its EnergykWh.LifetimeReading"),
            ("EnergykWh", "LifetimeReading", "325675.125", 325675.125, "no longer reports"),
            ("EnergykWh", "LifetimeReading", -1, 325675.125, "energy -1 is negative"),
        ):
            lie(sensor, key, value)
            up(poller, False, reason)
            lie(sensor, key, true)
            up(poller)
        more(2)
        service.stop()
        up(poller, False, "refused")
        readings.extend(poller.drain())
        count_before = len(readings)
        service.start()
        up(poller, seconds=40)
        more(2)
    finally:
        poller.stop()
    assert len(readings) > count_before
    for _, rows in readings:  # whatever happened: each is one that was served as true
        assert [(row.power_mw, row.energy_uj, row.step_uj) for row in rows] == [(6_438_000, LIFETIME_UJ, UJ_PER_KWH // 1000)]
