"""Redfish against the simulated controller: log-in, every way of misbehaving, and a service that forgets its sessions."""

from contextlib import suppress
from decimal import Decimal

import pytest

from energy_agent.config.node_meters import NodeMeters, NodeRedfishConfig
from energy_agent.core.errors import UsageError
from energy_agent.core.meters.reading import MeterError, Scope
from energy_agent.node.meters import redfish
from energy_agent.redfish.service import is_path
from energy_agent.runtime.clock import RealClock
from energy_agent.sim.host.redfish_service import SimulatedRedfish
from tests.support import eventually


@pytest.fixture
def service(tmp_path):
    running = SimulatedRedfish(tmp_path, 0, lambda: (Decimal("4321.5"), 7_200_003_600_000))
    yield running
    running.stop()


def meter(service, **more):
    folder = service.folder
    section = {"user_file": folder / "redfish-user", "password_file": folder / "redfish-password", "timeout_s": 60.0} | more
    return redfish.SPEC.open(NodeMeters(redfish=NodeRedfishConfig(url=service.url, **section)), RealClock())


@pytest.mark.parametrize("auth", ["session", "basic"])
def test_power_and_energy(service, auth):
    reader = meter(service, auth=auth)
    (reading,) = reader.read()
    assert (reading.scope, reading.power_mw, reading.energy_uj) == (Scope.NODE, 4_321_500, 7_200_003_600_000)
    reader.close()
    assert service.tokens == {}


def test_a_session_that_ended_is_opened_anew(service):
    reader = meter(service)
    reader.read()
    service.tokens.clear()
    assert reader.read()[0].power_mw == 4_321_500


@pytest.mark.parametrize("auth", ["session", "basic"])
def test_wrong_password_is_reported_without_revealing_it(service, tmp_path, auth):
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    with pytest.raises(MeterError, match="rejects the user name or the password") as error:
        meter(service, auth=auth, password_file=wrong).read()
    assert "hunter2" not in str(error.value)
    with pytest.raises(UsageError, match="user_file"):
        meter(service, user_file=tmp_path / "none")


@pytest.mark.parametrize("fault", ["absurd", "broken", "error", "huge", "negative", "slow"])
def test_a_service_that_misbehaves_is_a_reason_and_comes_back(service, fault):
    reader = meter(service, max_power_w=10_000, timeout_s=3.0 if fault == "slow" else 60.0)

    def power_mw():
        with suppress(MeterError):  # on a busy machine a good answer may be late for three seconds too
            return reader.read()[0].power_mw

    assert eventually(power_mw) == 4_321_500
    (service.folder / "redfish-fault").write_text(fault)
    with pytest.raises(MeterError):
        reader.read()
    (service.folder / "redfish-fault").unlink()
    assert eventually(power_mw) == 4_321_500


def test_a_link_of_another_host_is_not_followed():
    assert is_path("/redfish/v1/Chassis/1U")
    for bad in (
        "http://evil/redfish/v1",
        "//evil/redfish/",
        "/etc/passwd",
        "/redfish/../x",
        "/redfish/v1?x=1",
        None,
        5,
        "/redfish/" + "a" * 600,
    ):
        assert not is_path(bad)


@pytest.mark.parametrize("value", [None, True, "5", [], {}, Decimal("NaN"), Decimal("1e400"), 10**15])
def test_what_is_no_number_is_none(value):
    assert redfish.number(value) is None
