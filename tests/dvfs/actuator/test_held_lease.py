"""A held lease is renewed in time, and not at every round."""

from dvfs.actuator.held_lease import HeldLease
from dvfs.actuator.lease import HEARTBEAT_S, NS
from tests.doubles.actuator_socket import ActuatorDouble


def test_one_heartbeat_is_sent_in_each_of_its_intervals() -> None:
    client, quarter_ns = ActuatorDouble(), int(HEARTBEAT_S * NS) // 4
    lease = HeldLease(client, ["a", "b"], 0)
    for n in range(13):
        lease.renew(n * quarter_ns)
        assert client.heartbeats == n // 4
