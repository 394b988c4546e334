"""A device for the tests of SNMP, one for each file."""

import pytest


@pytest.fixture(scope="module")
def device():
    from tests.energy_agent.site.meters.snmp_device import Device

    new_device = Device()
    yield new_device
    new_device.stop()


@pytest.fixture
def pdu(device):
    device.reset()
    return device


@pytest.fixture(scope="module")
def community(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "community"
    path.write_text("public\n")
    return path
