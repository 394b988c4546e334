"""Energy of training workloads while their job does something else than training steps, such as saving a checkpoint. Pure.

The lead rank of a workload reports once per second what it is doing. The energy of its GPUs between two commits belongs to a
phase if both found the workload in it. So the second of training power in which a phase begins is not part of the phase, which
is short by up to a second at each end. The energy is part of the workload's, never in addition to it.
"""

from collections.abc import Iterable, Mapping

from energy_agent.core.boundary import is_gpu
from energy_agent.core.energy import Entry
from energy_agent.ledger.rows.cells import cell_start
from energy_agent.ledger.rows.kinds import PhaseRow


def lasting(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The workloads that were in one phase from one commit to the next, with that phase."""
    return {workload: phase for workload, phase in now.items() if before.get(workload) == phase}


def phase_rows(entries: Iterable[Entry], phases: Mapping[str, str]) -> list[PhaseRow]:
    """Rows of the GPU energy of workloads that are in a phase.

    Args:
        entries: those of one commit.
        phases: the phase of each workload that is in one.
    """
    rows: dict[tuple[int, str], PhaseRow] = {}
    for entry in entries:
        phase = phases.get(entry.workload)
        if phase is None or not is_gpu(entry.device):
            continue
        cell_ns = cell_start(max(entry.start_ns, entry.end_ns - 1))
        start_ns = max(entry.start_ns, cell_ns)
        row = rows.get((cell_ns, entry.workload)) or PhaseRow(cell_ns, entry.workload, phase, start_ns, entry.end_ns, 0, 0)
        rows[cell_ns, entry.workload] = PhaseRow(
            cell_ns,
            entry.workload,
            phase,
            min(row.start_ns, start_ns),
            max(row.end_ns, entry.end_ns),
            row.energy_uj + entry.energy_uj,
            row.gpu_ns + entry.gpu_ns,
        )
    return list(rows.values())
