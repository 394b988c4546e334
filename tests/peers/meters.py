"""What the tests of the node's meters share: a poller on a real peer, and what its readings become in the ledger."""

import contextlib
import itertools

from energy_agent.accounting.node import NodeAccount, NodePlan
from energy_agent.config.node_meters import NodeMeters
from energy_agent.core.energy import Identity
from energy_agent.node.meter_list import node_poller
from energy_agent.runtime.clock import RealClock
from tests.support import eventually

S = 10**9


@contextlib.contextmanager
def polling(config: NodeMeters):
    """A poller that runs."""
    poller = node_poller(RealClock(), config)
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()


def up(poller, wanted=True, reason="", seconds=20.0):
    """Wait until the only meter is up, or down for this reason."""

    def look():
        (health,) = poller.health({})
        return health if health.up is wanted and reason in health.reason else None

    return eventually(look, seconds)


def read_more(poller, readings, count):
    """Wait until the poller has given as many readings more, and append them."""
    wanted = len(readings) + count
    eventually(lambda: readings.extend(poller.drain()) or len(readings) >= wanted, 30)


def recorded_energy(readings, source):
    """(first, last reading in UTC ns, entries, gaps) of a node without GPUs."""
    account = NodeAccount(Identity("c", "n", "b", "v", False), NodePlan(source, {source: (2_500_000_000, 0.05)}, 0.05))
    for name, rows in readings:
        assert name == source
        account.feed(name, rows)
    entries, gaps = account.settle(readings[-1][1][0].boot_ns, set())
    return readings[0][1][0].t_ns, readings[-1][1][0].t_ns, entries, gaps


def check_constant_power(readings, source, watts):
    """Check a peer with a constant power of `watts`: every second is recorded at that power or is in a gap."""
    first_ns, last_ns, entries, gaps = recorded_energy(readings, source)
    spans = sorted([(e.start_ns, e.end_ns) for e in entries] + [(g.start_ns, g.end_ns) for g in gaps])
    assert spans[0][0] == first_ns
    assert spans[-1][1] == last_ns
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    seconds = sum(e.end_ns - e.start_ns for e in entries) / S
    assert abs(sum(e.energy_uj for e in entries) / 1e6 - watts * seconds) < 0.001 * watts * seconds + 0.001
    return entries, gaps
