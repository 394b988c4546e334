"""A preempted node: at SIGTERM the agent flushes its ledger, and 0.8 s later the machine is gone, here by SIGKILL."""

import os
import signal
import time
from contextlib import suppress

import pytest

from energy_agent.core.proof import SteeringRows
from energy_agent.ledger import chain
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess, alive, segments
from tests.energy_agent.node.test_clock_steps import UJ_PER_S, Boot, run_agent
from tests.support import eventually

NOTICE_S = 0.8
TRIES = 3
NODE = b"""
boards: [{count: 8, sku: H100-SXM5-80GB, gain: 1.0}]
workloads:
  - {name: bursts, kind: burst, gpus: [0, 1, 2, 3], on_s: 1.0, off_s: 0.7}
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("preempted") / "node") as running:
        yield running


def preempt(agent):
    """SIGTERM, and SIGKILL to the agent and its children after the notice; returns the time of the SIGTERM, UTC ns."""
    family = [agent.process.pid, *agent.children()]
    notice_ns = time.time_ns()
    agent.process.send_signal(signal.SIGTERM)
    time.sleep(NOTICE_S)
    for pid in family:
        if alive(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    agent.process.wait(60)
    return notice_ns


def test_all_but_the_last_reading_is_in_a_segment_when_the_node_is_gone(node, tmp_path):
    for attempt in range(TRIES):  # a machine with other work may take longer than the notice for anything
        state = tmp_path / f"state{attempt}"
        agent = AgentProcess(state, node.directory).start()
        eventually(lambda agent=agent: sum(agent.series("wattlens_gpu_energy_joules_total").values()) > 500)
        counted_j = sum(agent.series("wattlens_gpu_energy_joules_total").values())
        notice_ns = preempt(agent)
        if segments(state):
            break
    assert segments(state), "no segment within the notice, at any try"
    assert not chain.verify([state / "segments"], read_journal(state / "journal.db")).faults
    cells = [row.row for row in read_rows(state / "segments") if isinstance(row.row, Cell)]
    assert sum(cell.energy_uj for cell in cells) >= counted_j * 1e6 * 0.999999
    by_device = {}
    for cell in cells:
        by_device[cell.device] = max(by_device.get(cell.device, 0), cell.run.end_ns)
    assert len(by_device) == 8
    assert min(by_device.values()) > notice_ns - 4 * 10**9, "no device lacks more than the readings on their way"


class SlowSteering:
    """A governor whose stop takes long; it looks at the ledger when it is called."""

    def __init__(self, folder):
        self.folder, self.energy_uj = folder, None

    def __call__(self, snapshot):
        return SteeringRows(), ()

    def health(self):
        return ()

    def stop(self):
        self.energy_uj = sum(row.row.energy_uj for row in read_rows(self.folder / "segments") if isinstance(row.row, Cell))
        raise OSError("the actuator does not respond")


def test_energy_is_in_a_segment_before_settings_are_restored(tmp_path):
    steering = SlowSteering(tmp_path)
    agents = SteeredAgents(steering)
    run_agent(tmp_path, Boot(), {}, 40, agents)
    assert steering.energy_uj == 39 * UJ_PER_S


class SteeredAgents(list):
    """Gives each agent that is appended the governor."""

    def __init__(self, steering):
        super().__init__()
        self.steering = steering

    def append(self, agent):
        agent.steer = self.steering
        super().append(agent)
