"""Which row a workload's energy is in, by its labels. Pure.

Labels take effect at a time: energy of a UTC day belongs to what the workload's last labels of that day name, as in a report.
"""

from collections.abc import Mapping, Sequence

from reports.inputs import TeamRule, team_of
from reports.ledger.attribution import display_name
from wattlens.usage.statement import SEVERAL, GroupBy, RowKey, RowKind, unlabelled


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
    elif by is GroupBy.TEAM:
        name = team_of(labels, kind, workload, rules)[0]
    elif by is GroupBy.MODEL:
        name = served[0] if served else labels.get("model", "")
    else:
        name = labels.get(by.value, "")
    return RowKey(RowKind.GROUP, name) if name else unlabelled(by)


def device_name(node: str, device: str, *, gpu: bool) -> str:
    """A GPU as its row is named, or the rest of its node."""
    return f"{node} {device}" if gpu else f"{node} without GPUs"
