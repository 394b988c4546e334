"""The driver reloads under real processes: while the agent is dead, while it runs, and on another machine."""

from itertools import pairwise

import pytest

from benchmarks.exactness import TruthRecorder
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell, GapRow
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.energy_agent.agents import AgentProcess, alive
from tests.support import eventually, said_here
from wattlens.summary import summarise

SCENARIO = """
description: two boards, a job on one, ten times as fast as time
boards: [{count: 2, sku: H100-SXM5-80GB}]
seed: 5
rate: 10
workloads: [{name: train, kind: training, gpus: [0], step_s: 0.3}]
"""


@pytest.fixture
def node(tmp_path):
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    with SimulatedNode.start(scenario.load(str(tmp_path / "scenario.yaml")), tmp_path / "node") as running:
        yield running


@pytest.fixture
def truth(node):
    with node.plant() as plant:
        recorder = TruthRecorder(plant)
        recorder.start()
        yield recorder
        recorder.ended.set()
        recorder.join()


def counters(plant):
    return [plant.truth(gpu).counter_mj for gpu in range(plant.count)]


def recorded_energy(agent):
    return sum(agent.series("wattlens_gpu_energy_joules_total").values())


def judge(agent, truth):
    """The ledger holds the truth, has not a joule too much, and names the reload in a gap of every device.

    The recorder's samples around a reading are far apart where it had to wait, so neither is taken for the reading's instant.
    """
    verified = said_here("ledger", "verify", agent.folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    rows = [located.row for located in read_rows(agent.folder)]
    # a cell's border splits a gap into two
    reloads = [r for r in rows if isinstance(r, GapRow) and r.reason == "driver reload"]
    assert {r.device for r in reloads} == set(truth.points)
    for device, bounds in summarise(agent.folder).gpus.devices:
        runs = [r.run for r in rows if isinstance(r, Cell) and r.device == device]
        span = min(r.start_ns for r in runs), max(r.end_ns for r in runs)
        (before_start, after_start), (before_end, after_end) = (truth.around(device, t) for t in span)
        assert bounds.low_uj <= after_end.true_uj - before_start.true_uj
        assert before_end.true_uj - after_start.true_uj <= bounds.high_uj
        sensed_most_uj, sensed_least_uj = truth.published(device, span)
        assert bounds.energy_uj <= sensed_most_uj + bounds.edge_uj
        gaps = sorted((r for r in reloads if r.device == device), key=lambda r: r.start_ns)
        assert all(gap.start_ns == before.end_ns for before, gap in pairwise(gaps)), "one reload is one gap"
        yield device, bounds, sensed_least_uj, gaps


@pytest.mark.smoke
def test_reload_between_readings_is_a_gap_even_if_the_counter_passed_its_old_value(node, truth, tmp_path):
    with node.plant() as plant, AgentProcess(tmp_path / "state", node.directory) as agent:
        shown_j = eventually(lambda: recorded_energy(agent))
        children = agent.children()
        agent.kill()
        eventually(lambda: not any(map(alive, children)))
        last = counters(plant)  # no less than what the agent read
        node.fault(0, "driver_reload")
        eventually(lambda: all(now > then for now, then in zip(counters(plant), last, strict=True)), seconds=100)
        agent.start()
        eventually(lambda: recorded_energy(agent) > shown_j + sum(last) / 1000)  # what the counters show by now, added whole
        assert agent.terminate(within_s=60)[0] == 0
    for device, bounds, sensed_uj, gaps in judge(agent, truth):
        # If the agent recorded the difference of the two readings, all energy that the counter showed before would be missing.
        missing_uj = sensed_uj - bounds.energy_uj
        assert missing_uj < 1000 * last[list(truth.points).index(device)] // 2
        assert missing_uj <= sum(g.bound_uj for g in gaps) + bounds.edge_uj


def test_reload_under_a_running_agent_is_recorded_once(node, truth, tmp_path):
    with AgentProcess(tmp_path / "state", node.directory) as agent:
        eventually(lambda: recorded_energy(agent) > 0)
        node.fault(0, "driver_reload")
        eventually(lambda: "UNINITIALIZED" in agent.log)
        # Both GPUs are readable again, and the `/metrics` response is newer than the reload: their gaps are recorded.
        bounds = "wattlens_gpu_energy_gap_bound_joules_total"
        eventually(lambda: len(gap_bounds := agent.series(bounds)) == 2 and min(gap_bounds.values()) > 0)
        eventually(lambda: list(agent.series("wattlens_gpu_up").values()) == [1, 1])
        before = recorded_energy(agent)
        eventually(lambda: recorded_energy(agent) > before)
        assert agent.terminate(within_s=60)[0] == 0
    assert len(list(judge(agent, truth))) == 2


@pytest.mark.smoke
def test_restarted_node_at_the_same_path_is_recorded_as_another_machine(tmp_path):
    (tmp_path / "scenario.yaml").write_text(SCENARIO.replace("rate: 10", "rate: 1"))
    wanted = scenario.load(str(tmp_path / "scenario.yaml"))
    with SimulatedNode.start(wanted, tmp_path / "node") as first, AgentProcess(tmp_path / "state", first.directory) as agent:
        eventually(lambda: recorded_energy(agent) > 0)
        first.stop()
        with SimulatedNode.start(wanted, tmp_path / "node") as node, node.plant() as plant:
            eventually(lambda: "UNINITIALIZED" in agent.log)
            eventually(lambda: list(agent.series("wattlens_gpu_up").values()) == [1, 1])
            eventually(lambda: plant.truth(0).busy_ns)
            start_j, start_mj = recorded_energy(agent), sum(counters(plant))
            eventually(lambda: sum(counters(plant)) > start_mj + 8_000_000)

            def recorded_is_true():
                true_j, recorded_j = (sum(counters(plant)) - start_mj) / 1000, recorded_energy(agent) - start_j
                return 0.7 * true_j < recorded_j < 1.3 * true_j

            # What a page is behind by counts for less as time goes on. The first node's boards, without the job that was on
            # them, draw a fifth of this, however long it is waited.
            eventually(recorded_is_true)
        assert agent.terminate(within_s=60)[0] == 0
    verified = said_here("ledger", "verify", agent.folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr
