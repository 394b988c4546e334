"""Energy of phases is part of the energy of their workloads: each GPU entry of a workload in a phase is in one row."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.training_phases import lasting, phase_rows
from energy_agent.core.energy import Entry, Method, State
from energy_agent.ledger.rows.kinds import CELL_NS

S = 10**9
T0 = 1_782_864_000 * S
DEVICES = ("GPU-1", "GPU-2", "host:c:n", "host:c:n/package-0")
ENTRIES = st.lists(
    st.builds(
        lambda start, length, device, workload, uj: Entry(
            T0 + start * S, T0 + (start + length) * S, device, workload, State.ACTIVE, Method.COUNTER, uj, 0, length * S
        ),
        st.integers(0, 4_000),
        st.integers(1, 5),
        st.sampled_from(DEVICES),
        st.sampled_from(("a", "b", "")),
        st.integers(0, 10**9),
    ),
    max_size=30,
)


@given(ENTRIES, st.dictionaries(st.sampled_from(("a", "b")), st.sampled_from(("checkpoint", "evaluation", "other"))))
def test_each_gpu_entry_of_a_workload_in_a_phase_is_in_one_row_of_its_cell(entries, phases):
    rows = phase_rows(entries, phases)
    for workload in ("a", "b"):
        mine = [e for e in entries if e.workload == workload and e.device.startswith("GPU") and workload in phases]
        of_workload = [row for row in rows if row.workload == workload]
        assert sum(row.energy_uj for row in of_workload) == sum(entry.energy_uj for entry in mine)
        assert sum(row.gpu_ns for row in of_workload) == sum(entry.gpu_ns for entry in mine)
        assert {row.phase for row in of_workload} == ({phases[workload]} if mine else set())
    assert len({(row.cell_start_ns, row.workload) for row in rows}) == len(rows)
    for row in rows:
        assert row.cell_start_ns % CELL_NS == 0
        assert row.cell_start_ns <= row.start_ns <= row.end_ns <= row.cell_start_ns + CELL_NS


PHASES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(("checkpoint", "evaluation")))


@given(PHASES, PHASES)
def test_a_phase_lasts_where_both_commits_found_the_workload_in_it(before, now):
    assert set(lasting(before, now).items()) == set(before.items()) & set(now.items())
