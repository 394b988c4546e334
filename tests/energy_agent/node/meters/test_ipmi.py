"""What ipmitool says, as power or as a reason; and that no password is on its command line."""

import pytest

from energy_agent.config.node_meters import Ipmi
from energy_agent.core.meters.reading import MeterError
from energy_agent.node.meters.ipmi import _command, parse

ANSWER = b"""
    Instantaneous power reading:                   %s Watts
    Minimum during sampling period:                 18 Watts
    Maximum during sampling period:                468 Watts
    Average power reading over sample period:      220 Watts
    IPMI timestamp:                           11/24/26 19:30:00 UTC    Sampling period:   00000001 Seconds.
    Power reading state is:                   %s

"""


def test_power():
    assert parse(ANSWER % (b"220", b"activated"), b"", 0) == 220_000


@pytest.mark.parametrize(
    ("output", "errors", "code", "reason"),
    [
        (ANSWER % (b"220", b"deactivated"), b"", 0, "is deactivated"),
        (b"", b"Error: Unable to establish IPMI v2 / RMCP+ session\n", 1, "Unable to establish"),
        (b"\xff\xfe", b"", 0, "ipmitool"),
        (b"", b"", 1, "exited with status 1"),
        (ANSWER % (b"99999999999999", b"activated"), b"", 0, "ipmitool"),
    ],
)
def test_a_reason(output, errors, code, reason):
    with pytest.raises(MeterError, match=reason):
        parse(output, errors, code)


def test_a_password_is_never_an_argument(tmp_path):
    user = tmp_path / "user"
    user.write_text("monitor\n")
    section = Ipmi(interface="lanplus", host="10.0.0.1", user_file=user, password_file=tmp_path / "password")
    command = _command(section, "/tmp/secret-file")
    assert command[command.index("-f") + 1] == "/tmp/secret-file"
    assert "-P" not in command
