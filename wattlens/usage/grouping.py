"""Which row a workload's energy is in, by its labels. Pure.

Labels take effect at a time: energy of a UTC day belongs to what the workload's last labels of that day name, as in a report.
"""

from collections.abc import Iterable, Mapping, Sequence

from energy_agent.core.workloads.job_identity import job_address
from reports.inputs.organisation import team_of
from reports.inputs.records import TeamRule
from reports.ledger.attribution import display_name
from wattlens.usage.statement import SEVERAL, GroupBy, RowKey, RowKind, UsageRow, joined, unlabelled


def row_of(
    by: GroupBy, workload: str, kind: str, labels: Mapping[str, str], served: Sequence[str], rules: Sequence[TeamRule] = ()
) -> RowKey:
    """The row of a workload.

    Args:
        by: what the rows are.
        workload: its identity.
        kind: of the workload (container, slurm, ...).
        labels: those of the day.
        served: models that it generated tokens with in the period.
        rules: the organisation's, which name teams.
    """
    if by is GroupBy.MODEL and len(served) > 1:
        return SEVERAL
    if by is GroupBy.WORKLOAD:
        name = display_name(workload, labels)
    elif by is GroupBy.OWNER:
        name = job_address(kind, labels)
    elif by is GroupBy.TEAM:
        name = team_of(labels, kind, workload, rules)[0]
    elif by is GroupBy.MODEL:
        name = served[0] if served else labels.get("model", "")
    else:
        name = labels.get(by.value, "")
    return RowKey(RowKind.GROUP, name) if name else unlabelled(by)


def device_row(by: GroupBy, cluster: str, node: str, device: str, clusters: int, *, gpu: bool) -> RowKey:
    """The row of a device: the GPU's own, that of the rest of its node, or by node that of the node.

    Args:
        by: `GPU` or `NODE`.
        cluster: of the node.
        node: of the device.
        device: its identity.
        clusters: number of clusters in the statement; nodes of several are named with their cluster.
        gpu: whether the device is a GPU.
    """
    if by is GroupBy.NODE:
        return RowKey(RowKind.GROUP, f"{cluster}/{node}" if clusters > 1 else node)
    return RowKey(RowKind.GROUP, f"{node} {device}") if gpu else RowKey(RowKind.NODE, f"{node} without GPUs")


def joined_rows(rows: Iterable[UsageRow]) -> list[UsageRow]:
    """One row per key, in the order of their first parts."""
    rows_of: dict[RowKey, list[UsageRow]] = {}
    for row in rows:
        rows_of.setdefault(row.key, []).append(row)
    return [joined(key, same) if len(same) > 1 else same[0] for key, same in rows_of.items()]
