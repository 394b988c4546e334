"""Redfish over TLS against sushy-tools' static service, which serves DMTF's mockup of a rack server: read in each of the three
ways, slowed, lying, killed in mid-run.
"""

import functools
import signal
import time
from pathlib import Path

import pytest

from energy_agent.config.node_meters import NodeMeters, NodeRedfishConfig
from energy_agent.core.meters.reading import MeterError
from energy_agent.node.meters.redfish import SPEC
from energy_agent.runtime.clock import RealClock
from tests.peers.meters import check_constant_power, polling, read_more, up
from tests.peers.redfish_service import RedfishService
from tests.support import eventually

pytestmark = pytest.mark.peer

MOCKUP = Path(__file__).with_name("redfish-mockup")
CHASSIS = "Chassis/1U"


def config(service, **more):
    section = service.section | {"period_s": 1, "timeout_s": 2} | more
    return NodeMeters(sysfs=service.folder / "sys", redfish=NodeRedfishConfig(**section))


@pytest.fixture
def service(tmp_path):
    redfish = RedfishService(tmp_path, MOCKUP)
    yield redfish
    redfish.stop()


def read(service, **more):
    """One reading in W, as soon as the service listens."""
    meter = SPEC.open(config(service, **more), RealClock())

    def look():
        try:
            return meter.read()[0]
        except MeterError as error:
            if "refused" in str(error) or "in time" in str(error):  # as a busy machine may do
                return None
            raise

    return eventually(look)


def test_the_newest_resource_wins_and_each_older_one_serves(service):
    reading = read(service)
    assert (reading.power_mw, reading.max_mw) == (374_000, 2_400_000)  # its EnvironmentMetrics; capacity with headroom
    service.write(CHASSIS, lambda body: body.pop("EnvironmentMetrics"))
    assert read(service).power_mw == 937_400  # the input of the one supply that is enabled
    service.write(CHASSIS, lambda body: body.pop("PowerSubsystem"))
    reading = read(service)
    assert (reading.power_mw, reading.max_mw) == (344_000, 960_000)  # PowerControl
    service.write(CHASSIS, lambda body: body.pop("Power"))
    with pytest.raises(MeterError, match=r"set sources\.node\.redfish\.chassis"):
        read(service)


def test_unresponsive_supply_makes_the_sum_unknown(service):
    service.write(CHASSIS, lambda body: body.pop("EnvironmentMetrics"))
    read(service)
    service.write(f"{CHASSIS}/PowerSubsystem/PowerSupplies/Bay1/Metrics", lambda body: body.pop("InputPowerWatts"))
    with pytest.raises(MeterError, match="Bay1"):
        read(service)


def test_untrusted_certificate_is_refused(service):
    read(service)
    with pytest.raises(MeterError, match="certificate is not trusted"):
        read(service, ca_file=None)
    assert read(service, ca_file=None, verify=False).power_mw == 374_000


def test_failed_session_creation_is_reported(service, tmp_path):
    read(service)
    (tmp_path / "word").write_text("x\n")
    with pytest.raises(MeterError, match="did not create a session"):
        read(service, auth="session", user_file=tmp_path / "word", password_file=tmp_path / "word")


def test_killed_slowed_and_lying_in_mid_run(service):
    readings = []
    path = f"{CHASSIS}/EnvironmentMetrics"
    with polling(config(service)) as poller:
        more = functools.partial(read_more, poller, readings)

        def lie(watts):
            service.write(path, lambda body: body["PowerWatts"].update(Reading=watts))

        up(poller)
        more(3)
        service.process.send_signal(signal.SIGSTOP)
        up(poller, False, "in time")
        service.process.send_signal(signal.SIGCONT)
        up(poller)
        more(2)
        for watts in (-374, 0, "374", None, 10**30):
            lie(watts)
            up(poller, False)
            lie(374)
            up(poller)
        more(2)
        service.stop()
        up(poller, False, "refused")
        time.sleep(2.5)  # longer than readings may lie apart
        service.start()
        up(poller, seconds=40)
        more(3)
    entries, gaps = check_constant_power(readings, "redfish", 374)
    assert len(gaps) >= 2
    assert all(g.bound_uj > 374_000 * (g.end_ns - g.start_ns) // 10**9 for g in gaps)
    assert entries
