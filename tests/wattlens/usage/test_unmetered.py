"""GPUs without a sensor in statements of the ledger: bounds and GPU time, never 0 J."""

import io
import json
import re
from dataclasses import replace

import pytest

from energy_agent.core.energy import State
from energy_agent.core.quantity import no_quantity
from energy_agent.ledger import chain
from energy_agent.ledger.rows.kinds import CELL_NS
from reports.figures.energy import UNSEEN, BoundedEnergy
from reports.figures.figure import energy_figure
from tests.energy_agent.accounting import test_accountant
from tests.energy_agent.accounting.test_absent_sensors import Boards
from tests.energy_agent.accounting.test_accountant import IDENTITY, SECOND, T0
from tests.wattlens.usage.statements import job_report, read_days, read_usage
from wattlens.job.output import efficiency_lines, text_lines, write_json
from wattlens.usage.job_address import parse_address
from wattlens.usage.output import table_lines
from wattlens.usage.output import write_json as write_usage_json
from wattlens.usage.rates import parse_price, with_price
from wattlens.usage.record import EnergyRecord, day_of
from wattlens.usage.statement import GroupBy

PERIOD = T0 - T0 % CELL_NS, T0 - T0 % CELL_NS + CELL_NS
BOUND_UJ = 4 * 840_000_000


@pytest.fixture
def node(tmp_path):
    """GPU-0 has a counter, GPU-1 no sensor, GPU-2 no sensor and no known power limit; each is used by its own workload."""
    gpu_node = Boards(tmp_path, [({"energy_mj"}, True, True), (set(), True, True), (set(), True, False)])
    for _ in range(5):
        gpu_node.sweep()
        gpu_node.commit()
    yield gpu_node
    gpu_node.journal.close()


def test_verify_finds_no_fault(node):
    node.journal.seal(None)
    node.journal.close()
    report = chain.verify([node.folder])
    assert [fault for one in report.chains for fault in one.faults] == []
    node.open()


def test_verify_finds_a_gpu_without_sensor_in_two_chains(node, tmp_path, monkeypatch):
    monkeypatch.setattr(test_accountant, "IDENTITY", replace(IDENTITY, node="other"))
    (tmp_path / "other").mkdir()
    other = Boards(tmp_path / "other", [(set(), True, True)] * 2)
    for each in (node, other):
        each.sweep()
        each.sweep()
        each.commit()
        each.journal.seal(None)
    other.journal.close()
    report = chain.verify([node.folder / "segments", other.folder / "segments"])
    faults = [fault for one in report.chains for fault in one.faults]
    assert {fault.kind for fault in faults} == {"twice"}
    assert any("GPU-1" in fault.line for fault in faults)


@pytest.mark.parametrize("by", [GroupBy.GPU, GroupBy.WORKLOAD])
def test_usage_has_bounds_and_a_reason_and_no_joules(node, by):
    usage = with_price(read_usage(node.folder, by, *PERIOD), parse_price("0.2EUR/kWh"))
    rows = {row.key.name.split("-")[-1]: row for row in usage.rows}
    assert [rows[name].energy.unseen for name in "012"] == [False, True, True]
    assert (rows["1"].energy.low_uj, rows["1"].energy.high_uj, rows["2"].energy.high_uj) == (0, BOUND_UJ, None)
    assert rows["1"].cost == no_quantity(UNSEEN)
    assert usage.total.energy.energy_uj == 4 * 300_000_000
    file = io.StringIO()
    write_usage_json(usage, file)
    document = json.loads(file.getvalue())
    printed = {row["name"].split("-")[-1]: row for row in document["rows"]}
    names = ("energy_kwh", "energy_uj", "active_uj", "idle_uj", "unallocated_uj", "unattributed_uj", "share_ratio")
    assert all(printed["1"][name] is None and printed["1"]["absent"][name] == UNSEEN for name in names)
    assert printed["1"]["energy_kwh_upper"] == pytest.approx(BOUND_UJ / 3.6e12)
    assert document["coverage_ratio"] == pytest.approx(4 * SECOND / 3 / CELL_NS, abs=1e-6)
    table = "\n".join(table_lines(usage))
    assert re.search(r"-1 +- +0\.0000000 +0\.0009334 +- +- +-\n", table)
    assert f"No energy: {UNSEEN}\n" in table


def test_compacted_days_give_the_same_statement_as_the_rows(node):
    node.journal.seal(None)
    segments = node.folder / "segments"
    for by in (GroupBy.GPU, GroupBy.WORKLOAD):
        rows, days = read_usage(segments, by, *PERIOD), read_days(str(segments), by, *PERIOD)
        assert [(row.key, row.energy, row.parts) for row in days.rows] == [(r.key, r.energy, r.parts) for r in rows.rows]
        assert days.scope.metered_ns == rows.scope.metered_ns == 4 * SECOND


def record_of(*, gap_uj, by_device):
    owner = ("c", "n", "slurm-1")
    record = EnergyRecord("test", T0, T0 + 4 * SECOND)
    record.add_labels(owner, T0, "slurm", '{"job":"1"}')
    device = "GPU-1" if by_device else ""
    row = ("c", "n", device, "slurm-1", State.ACTIVE, "", 0, 4 * SECOND, T0, T0 + 4 * SECOND, 0, 0, 0)
    record.add_day(day_of(T0), "holder_day", [row])
    if by_device:
        record.add_day(day_of(T0), "span_day", [("c", "n", device, "slurm-1", T0, T0 + 4 * SECOND, 0, 0, 0, 0, gap_uj, 0)])
        record.add_row("device", cluster="c", node="n", device="GPU-1", gain_ppm=50_000)
    where = {"cluster": "c", "node": "n", "workload": "slurm-1"}
    times = {"day_ns": day_of(T0), "cell_start_ns": T0, "start_ns": T0, "end_ns": T0 + 4 * SECOND}
    record.add_row("steps", **where, **times, phase="training", steps=10)
    return record


@pytest.mark.parametrize(("by_device", "high"), [(True, "3.360 kJ"), (False, "a gap without a bound")])
def test_a_job_on_gpus_without_sensor_has_time_and_a_reason_and_no_joules(by_device, high):
    report = job_report(record_of(gap_uj=BOUND_UJ, by_device=by_device), parse_address("slurm/1"))
    text = "\n".join(text_lines(report))
    assert re.search(rf"Energy +-  {UNSEEN}; 0 J to {high}\n", text)
    assert "GPU time" in text
    assert report.joules_per_step == no_quantity(UNSEEN)
    file = io.StringIO()
    write_json(report, file)
    document = json.loads(file.getvalue())
    assert [document[name] for name in ("energy_uj", "active_uj", "idle_uj", "gpu_uj", "energy_kwh")] == [None] * 5
    assert document["absent"]["energy_kwh"] == UNSEEN
    assert document["gpu_hours_active"] == pytest.approx(4 / 3600)
    assert document["nodes"][0]["energy_uj"] is None
    assert document["gpus"] == document["nodes"][0]["gpus"] == (1 if by_device else None)
    assert (": 1 GPU on" if by_device else ": unknown GPUs on") in text
    assert not [line for line in efficiency_lines(report) if line.startswith("Energy")]


def test_figures_of_a_report_are_absent_with_bounds():
    energy = BoundedEnergy(gap_uj=BOUND_UJ)
    figure = energy_figure("energy.gpu/site/a", energy, "none", "gpu")
    assert (figure.value, figure.reason, figure.low, figure.high) == (None, UNSEEN, 0, 3360)
    assert energy.quantity == no_quantity(UNSEEN)
    assert BoundedEnergy().quantity.value == 0
