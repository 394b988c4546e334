"""Whatever sensors a GPU lacks: no series of it exists, nothing is 0 for "not measured", and the ledger stays exact."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.accounting.node import NodeAccount, NodePlan
from energy_agent.accounting.totals import RecordedTotals
from energy_agent.accounting.views import with_host
from energy_agent.core.boundary import NO_SENSOR, UNBOUNDED
from energy_agent.core.energy import DeviceInfo, DeviceSample, Method, ProcessUse, State, WorkloadFacts
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.exposition.openmetrics import families
from energy_agent.ledger.rows.kinds import Cell, DeviceTimeRow, GapRow
from energy_agent.ledger.rows.totals import Totals
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.routes import Routes, _energy
from energy_agent.reader.supervisor import DeviceHealth
from tests.energy_agent.accounting.test_accountant import IDENTITY, SECOND, T0, Node, assert_conserved
from tests.energy_agent.exposition.test_openmetrics import EMPTY
from tests.support import examples

POWERS = {
    "power_mw": (300_000, "gpu_power_instant_watts"), "power_average_mw": (300_000, "gpu_power_watts"),
    "power_limit_mw": (700_000, "gpu_power_limit_watts"),
    "power_limit_requested_mw": (700_000, "gpu_power_limit_requested_watts"),
}  # fmt: skip
READINGS = POWERS | {
    "sm_clock_mhz": (1_980, "gpu_sm_clock_hertz"), "memory_clock_mhz": (2_619, "gpu_memory_clock_hertz"),
    "temperature_c": (60, "gpu_temperature_celsius"), "memory_temperature_c": (80, "gpu_memory_temperature_celsius"),
    "gpu_percent": (50, "gpu_utilization_ratio"), "memory_percent": (20, "gpu_memory_utilization_ratio"),
    "memory_used_b": (1, "gpu_memory_used_bytes"), "memory_total_b": (2, "gpu_memory_total_bytes"),
    "event_reasons": (4, "gpu_clock_event_seconds_total"),
}  # fmt: skip
ENERGY = (
    "gpu_energy_joules_total", "gpu_energy_gain_uncertainty_ratio", "gpu_energy_edge_uncertainty_joules",
    "gpu_unallocated_energy_joules_total", "gpu_unattributed_energy_joules_total",
)  # fmt: skip
SENSORS = ("energy_mj", *READINGS)
boards = st.lists(st.tuples(st.sets(st.sampled_from(SENSORS)), st.booleans(), st.booleans()), min_size=1, max_size=4)


class Boards(Node):
    """GPUs, each with its own subset of sensors; `allocated` ones are used by one workload of its own."""

    def __init__(self, folder, boards):
        self.boards = {f"GPU-{i}": board for i, board in enumerate(boards)}
        super().__init__(folder)
        limits = {u: 700_000 if has_limit else None for u, (_, _, has_limit) in self.boards.items()}
        self.infos = {
            u: DeviceInfo(u, i, "H100", "Hopper", f"00:0{i}.0", "580", power_limit_max_mw=limits[u])
            for i, u in enumerate(self.boards)
        }
        self.up = {u: DeviceHealth(up=True, reason="") for u in self.boards}
        for i, (_, allocated, _) in enumerate(self.boards.values()):
            if allocated:
                self.start(10 + i, f"work-{i}")

    def sweep(self):
        self.now_s += 1
        samples = []
        for i, (uuid, (sensors, allocated, _)) in enumerate(self.boards.items()):
            values = {name: READINGS[name][0] for name in sensors if name != "energy_mj"}
            values |= {"energy_mj": 10**6 + 300_000 * self.now_s} if "energy_mj" in sensors else {}
            processes = (ProcessUse(10 + i),) if allocated else ()
            times = T0 + self.now_s * SECOND, self.now_s * SECOND + 10**12
            absent = {name: "NOT_SUPPORTED" for name in SENSORS if name not in sensors}
            samples.append(DeviceSample(uuid, *times, processes=processes, absent=absent, **values))
        self.accountant.feed(samples, self.infos)

    def snapshot(self):
        return super().snapshot(self.up)

    def rows(self, kind):
        return [row for row in self.journal.open_rows() if isinstance(row, kind)]


def labels_of(by_family, name):
    return [labels for labels, _ in by_family.get(name, [])]


def assert_absent_is_absent(node):
    snapshot = node.snapshot()
    by_family = families(snapshot)
    for i, (uuid, (sensors, allocated, has_limit)) in enumerate(node.boards.items()):
        for name, (_, family) in READINGS.items():
            assert any(uuid in labels for labels in labels_of(by_family, family)) == (name in sensors), family
        metered = bool(sensors & {"energy_mj", "power_mw"})
        for family in ENERGY:
            assert metered or not any(uuid in labels for labels in labels_of(by_family, family)), family
        methods = {labels[2] for labels in labels_of(by_family, "gpu_energy_joules_total") if labels[1] == uuid}
        of_counter = {"counter", "bridged"} if "energy_mj" in sensors else set()
        assert methods == of_counter | ({"integrated"} if "power_mw" in sensors else set())
        bounds = [v for labels, v in by_family.get("gpu_energy_gap_bound_joules_total", []) if labels[1] == uuid]
        assert bounds == (["0"] if metered else [] if not has_limit or node.now_s < 2 else bounds)
        assert metered or "0" not in bounds
        of_work = [labels for labels in labels_of(by_family, "workload_energy_joules_total") if labels[0] == f"work-{i}"]
        assert bool(of_work) == (metered and allocated)
        seconds = {labels[-1] for labels in labels_of(by_family, "workload_gpu_seconds_total") if labels[0] == f"work-{i}"}
        assert allocated or not seconds
    assert_conserved(snapshot)


@settings(deadline=None, max_examples=examples(40))
@given(boards, st.booleans())
def test_absent_sensors_have_no_series_and_energy_is_conserved(boards, reopened):
    with tempfile.TemporaryDirectory() as folder:
        node = Boards(Path(folder), boards)
        for second in range(5):
            node.sweep()
            assert node.commit()
            assert_absent_is_absent(node)
            if reopened and second == 2:
                node.open()
        metered = {u for u, (sensors, *_) in node.boards.items() if sensors & {"energy_mj", "power_mw"}}
        cells, gaps, times = (node.rows(kind) for kind in (Cell, GapRow, DeviceTimeRow))
        assert {cell.device for cell in cells} == metered
        assert all(cell.energy_uj > 0 for cell in cells)
        assert sum(cell.energy_uj for cell in cells) == node.recorded_uj() == len(metered) * 4 * 300_000_000
        assert {gap.device for gap in gaps} == set(node.boards) - metered
        for gap in gaps:
            has_limit = node.boards[gap.device][2]
            assert (gap.reason, gap.bound_uj) == ((NO_SENSOR, 4 * 840_000_000) if has_limit else (UNBOUNDED + NO_SENSOR, 0))
            assert gap.end_ns - gap.start_ns == 4 * SECOND
        unmetered_work = {u: f"work-{u[-1]}" for u, (_, is_used, _) in node.boards.items() if is_used and u not in metered}
        assert {row.device: row.workload for row in times} == unmetered_work
        gpu_ns = node.journal.totals().gpu_ns
        for uuid, (_, allocated, _) in node.boards.items():
            held_ns = sum(gpu_ns.get((f"work-{uuid[-1]}", state), 0) for state in (State.ACTIVE, State.IDLE))
            assert held_ns == (4 * SECOND if allocated else 0)
        node.journal.close()


@pytest.fixture
def node(tmp_path):
    """One GPU with a counter, one without counter and power."""
    node_boards = Boards(tmp_path, [({"energy_mj", "power_mw"}, True, True), ({"gpu_percent"}, True, True)])
    yield node_boards
    node_boards.journal.close()


def test_bound_of_energy_at_a_windows_edge_is_absent_before_the_first_interval_of_each_start(node):
    edges = []
    for _ in range(2):
        node.sweep()
        node.commit()
        edges.append(labels_of(families(node.snapshot()), "gpu_energy_edge_uncertainty_joules"))
        node.sweep()
        node.commit()
        edges.append(labels_of(families(node.snapshot()), "gpu_energy_edge_uncertainty_joules"))
        node.open()
    assert edges == [[], [("0", "GPU-0")], [("0", "GPU-0")], [("0", "GPU-0")]]


def test_local_api_has_a_reason_in_place_of_joules_without_a_sensor(node):
    history = EnergyHistory()
    for _ in range(5):
        node.sweep()
        node.commit()
        history.add(node.snapshot())
    counted, missing = (_energy(node.snapshot(), f"work-{i}") for i in range(2))
    assert counted["joules"] == 1200.0
    assert (missing["reason"], "joules" in missing) == (f"GPU 1: {NO_SENSOR}", False)
    assert "joules" not in missing["devices"][0]
    window = history.window(T0 + 2 * SECOND, T0 + 4 * SECOND)["devices"]
    assert window["GPU-1"] == {"reason": NO_SENSOR}
    assert window["GPU-0"]["joules"] == pytest.approx(600.0)
    assert history.window(T0 + 2 * SECOND, T0 + 4 * SECOND, "work-1")["devices"] == {"GPU-1": {"reason": NO_SENSOR}}


def test_a_counter_that_stops_answering_is_bridged_within_a_quarter_of_an_hour_and_a_gap_later(node):
    for away_s, method in ((600, "bridged"), (1_000, None)):
        node.sweep()
        sensors = node.boards["GPU-0"]
        node.boards["GPU-0"] = (set(), True, True)
        for _ in range(away_s):
            node.sweep()
        assert node.commit()
        node.boards["GPU-0"] = sensors
        for _ in range(2):
            node.sweep()
        assert node.commit()
        bridged = [row for row in node.rows(Cell) if row.device == "GPU-0" and row.method == "bridged"]
        gaps = [row for row in node.rows(GapRow) if row.device == "GPU-0"]
        assert bool(gaps) == (method is None)
        assert sum(row.energy_uj for row in bridged) == 601 * 300_000_000


@pytest.mark.parametrize(("bound_uj", "samples"), [(0, []), (7_000_000, [(("host",), "7")])])
def test_host_with_unresponsive_meter_has_a_gap_bound_only(bound_uj, samples):
    sums = RecordedTotals(Totals(gap_bound_uj={"host:c:n": bound_uj})).sums()
    by_family = families(with_host(EMPTY, sums, {"work"}, (), {}))
    assert by_family.get("node_nongpu_energy_gap_bound_joules_total", []) == samples
    assert not [name for name in by_family if "nongpu" in name and "gap_bound" not in name]
    assert by_family["energy_boundary_info"] == [(("gpu",), "1")]


def test_namespaces_and_owners_without_a_metered_gpu_have_no_energy():
    recorded = RecordedTotals()
    for workload in ("pod-1", "pod-2"):
        recorded.learn(WorkloadFacts(workload, T0, "pod", {"namespace": f"ns-{workload}", "owner": f"Job/{workload}"}))
    recorded.see("GPU-0", "pod-1", Method.COUNTER)
    assert recorded.sums().namespace_uj == {"ns-pod-1": 0}
    assert recorded.sums().owner_uj == {("ns-pod-1", "Job/pod-1"): 0}
    recorded.states_without(["pod-1", "pod-2"])
    recorded.forget()
    assert recorded.sums().namespace_uj == {"ns-pod-1": 0}
    assert recorded.sums().owner_uj == {("ns-pod-1", "Job/pod-1"): 0}


def test_host_energy_is_bounded_and_has_an_owner_where_a_gpu_has_no_sensor(tmp_path):
    """The host is what the node's meter counts beyond the GPUs, so that it holds what this GPU drew."""
    node_boards = Boards(tmp_path, [(set(), True, False)])
    plan = NodePlan("redfish", {"redfish": (60 * SECOND, 0.02)}, 0.05)
    node_boards.accountant._node = account = NodeAccount(IDENTITY, plan)
    for _ in range(6):
        node_boards.sweep()
        now = T0 + node_boards.now_s * SECOND, node_boards.now_s * SECOND + 10**12
        reading = MeterReading("node", Scope.NODE, *now, energy_uj=node_boards.now_s * 10**9)
        node_boards.accountant.add_node([("redfish", (reading,))], *now, {"GPU-0"})
        node_boards.commit()
    cells = [row for row in node_boards.rows(Cell) if row.device == "host:c:n"]
    assert {row.workload for row in cells} == {"work-0"}
    assert sum(row.run.bound_uj for row in cells) >= 4 * 1_800_000_000 // 2
    assert account.faults == {}
    node_boards.journal.close()


def test_readings_without_a_sensor_between_two_commits_cost_the_journal_one_row_of_each_kind(node):
    for _ in range(30):
        node.sweep()
    batch = node.accountant.batch()
    assert len(batch.gaps) == 1
    assert batch.gaps[0].end_ns - batch.gaps[0].start_ns == 29 * SECOND
    assert batch.gaps[0].bound_uj == 29 * 840_000_000
    assert [row.gpu_ns for row in batch.rows if isinstance(row, DeviceTimeRow)] == [29 * SECOND]
    assert node.commit()


def test_local_api_states_its_time_also_where_it_has_a_reason_in_place_of_joules(node):
    history = EnergyHistory()
    node.sweep()
    node.commit()
    history.add(node.snapshot())
    for workload in ("work-1", "not seen yet"):
        reply = Routes(history)._about(workload)
        assert ("joules" in reply, reply["t_ns"]) == (False, T0 + SECOND)
