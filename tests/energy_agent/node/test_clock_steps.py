"""UTC that is set forward or back by an hour or a day while agent and site process run: nothing stops, nothing is lost."""

from dataclasses import replace

import pytest

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.config.agent import Config
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger import chain
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.ledger.segments import segment
from energy_agent.local_api.history import EnergyHistory
from energy_agent.node.loop import Agent
from energy_agent.owners.processes import ProcessOwners
from energy_agent.reader.child import Unkillable
from energy_agent.reader.supervisor import DeviceHealth, NodeHealth
from energy_agent.runtime.clock import UTC_END_NS
from energy_agent.tokens.poller import TokenPoller
from tests.energy_agent.runtime.loop.test_timing import DAY, HOUR, SteppedClock

STEPS_NS = (HOUR, -HOUR, DAY, -DAY)
IDENTITY = Identity("c", "n", "boot-1", "0", simulated=True)
INFO = DeviceInfo("GPU-0", 0, "H100", "Hopper", "", "580", power_limit_max_mw=700_000)
UJ_PER_S = 300_000_000


class Boot(SteppedClock):
    """The clock of one boot; no wait takes real time."""

    def boot_id(self):
        return "boot-1"

    def real_seconds(self, seconds):
        return 0.0


class Sweeps:
    """A reader's supervisor on one GPU of 300 W; a poll takes a second of the clock. `turns` has what happens at a poll."""

    def __init__(self, clock, turns):
        self.clock, self.turns, self.count = clock, turns, 0
        self.wake, self.reader_pid, self.unkillable = (), None, Unkillable()
        self.node = NodeHealth(up=True, reason="", last_success_ns=clock.utc_ns())
        self.devices, self.infos = {INFO.uuid: DeviceHealth(up=True, reason="")}, {INFO.uuid: INFO}

    def poll(self, timeout_s):
        self.clock.sleep(1.0)
        self.count += 1
        self.turns.get(self.count, lambda: None)()
        energy_mj = self.count * UJ_PER_S // 1000
        return [(DeviceSample(INFO.uuid, self.clock.utc, self.clock.boot, energy_mj, 300_000, gpu_percent=50),)]

    def health(self, boot_ns):
        return ()

    def list_processes(self):
        pass

    def release(self, reason):
        pass

    def stop(self):
        pass


class Quarters(Sweeps):
    """Four polls per second: a full reading, a fast one, none, and a fast one."""

    def poll(self, timeout_s):
        self.clock.sleep(-0.75)
        ((full,),) = super().poll(timeout_s)
        fast = [(replace(full, fast=True, gpu_percent=None, energy_mj=full.energy_mj),)]
        return ([(full,)], fast, [], fast)[(self.count - 1) % 4]


def run_agent(folder, clock, turns, seconds, agents=None, kind=Sweeps):
    """The turns at which the agent published, with it; `turns` are actions by turn, `agents` gets the agent before it runs."""
    journal = Journal.open(folder / "journal.db", IDENTITY, utc_ns=clock.utc_ns)
    accountant = Accountant(IDENTITY, ProcessOwners(folder / "proc"), SensorFor(2_500_000_000), {}, 0.05)
    assert accountant.restore(journal.states(), journal.totals(), journal.facts(), clock.utc_ns()) == []
    sweeps = kind(clock, turns | {seconds: lambda: agent.stop()})
    agent = Agent(Config(), IDENTITY, clock, journal, sweeps, accountant, TokenPoller(clock), folder)
    if agents is not None:
        agents.append(agent)
    published = []
    agent.on_publish = lambda snapshot: published.append(sweeps.count)
    agent.run()
    return published, agent


@pytest.mark.parametrize("by_ns", STEPS_NS)
def test_the_agent_goes_on_and_its_ledger_is_whole(tmp_path, by_ns):
    clock = Boot()
    back_ns = -by_ns
    turns = {20: lambda: clock.step(by_ns), 60: lambda: clock.step(back_ns)}
    published, agent = run_agent(tmp_path, clock, turns, 100)
    assert published == [*range(1, 101), 100], "one snapshot per reading, and the last at the end"
    assert agent.snapshot.devices[0].energy_uj == {"counter": 99 * UJ_PER_S}
    folder = tmp_path / "segments"
    rows = [row for path in segment.list_files(folder) for row in segment.read(path).rows]
    assert sum(row.energy_uj for row in rows if isinstance(row, Cell)) == 99 * UJ_PER_S
    report = chain.verify([folder])
    assert report.ok, report.faults


def test_full_readings_are_published_once_each_and_fast_ones_with_the_next(tmp_path):
    published, agent = run_agent(tmp_path, Boot(), {}, 40, kind=Quarters)
    assert published == [*range(1, 41, 4), 40]
    assert agent.snapshot.devices[0].energy_uj == {"counter": 39 * UJ_PER_S}


def test_after_a_step_back_rows_go_to_a_new_segment(tmp_path):
    clock = Boot()
    run_agent(tmp_path, clock, {30: lambda: clock.step(-HOUR // 6)}, 60)
    first, step, second = (segment.read(path).header for path in segment.list_files(tmp_path / "segments"))
    assert (first.from_ns, second.to_ns) == (first.to_ns - 28 * NS_PER_S, clock.utc)
    assert (step.to_ns, step.to_ns - step.from_ns) == (second.from_ns, NS_PER_S)
    assert second.to_ns < first.from_ns


@pytest.mark.parametrize("at_ns", [0, 5 * NS_PER_S, UTC_END_NS])
def test_utc_at_the_ends_of_what_can_be_stored(tmp_path, at_ns):
    clock = Boot()
    published, agent = run_agent(tmp_path, clock, {10: lambda: clock.step(at_ns - clock.utc)}, 30)
    assert published[-1] == 30
    assert agent.snapshot.devices[0].energy_uj == {"counter": 29 * UJ_PER_S}


@pytest.mark.parametrize("by_ns", STEPS_NS)
def test_the_history_stays_thin(by_ns):
    clock, history = Boot(), EnergyHistory()
    for second in range(3 * 3600):
        clock.sleep(1.0)
        if second == 600:
            clock.step(by_ns)
        history.add(Snapshot(second, clock.utc, IDENTITY, boot_ns=clock.boot))
    assert len(history) <= 3600 + 60 + 3 * 60
