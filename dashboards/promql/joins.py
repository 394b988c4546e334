"""Joins and selections of several dashboards: a node, a group that is steered as one, and the largest of many."""

from dashboards.dashboard import RANGE, Scope, recorded, series
from dashboards.rules.steering import GPUS, PROVEN, change

AT = "cluster, job, instance"
"""Labels that identify a node."""
GROUP = f"{AT}, group"
"""Labels that identify a steering group."""
MOST = 10
"""How many series a graph by workload, run or group has at most."""
_CHOSEN = 'group=~"$group"'


def gain_of(name: str, by: str = "", scope: Scope = "gpu") -> str:
    """Increase of a steering counter in the selected time range, summed over GPUs. `by` group: the group that has them now."""
    return _summed(f"increase({recorded(name, scope=scope)}[{RANGE}])", by)


def proven(name: str, by: str = "", scope: Scope = "gpu", *, less: str = "") -> str:
    """Change of a claim in the selected time range, `less` another one, summed as in `gain_of`: negative where it fell.

    Only for GPUs with a closed analysis: that of the others is unknown, which is not 0.
    """
    changes = " - ".join(change(recorded(each, scope=scope), RANGE) for each in (name, less) if each)
    ever = f"last_over_time({recorded(PROVEN, scope=scope)}[{RANGE}])"
    return _summed(f"(({changes}) and on ({AT}, uuid) {ever})", by)


def _summed(expr: str, by: str) -> str:
    if by == GROUP:
        expr = f"{expr} * on ({AT}, uuid) group_left (group) {series('dvfs_group_info', _CHOSEN)}"
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def largest_groups(record: str, *matchers: str) -> str:
    """A recorded series of the groups with the most GPUs in the selected time range: the same ones for the whole graph."""
    most = f"topk({MOST}, max by ({GROUP}) (max_over_time({recorded(GPUS, _CHOSEN)}[{RANGE}] @ end())))"
    return f"max by ({GROUP}) ({recorded(record, _CHOSEN, *matchers)} and on ({GROUP}) {most})"


def steered_workloads() -> str:
    """The workloads whose GPUs a chosen group had in the selected range."""
    return f"group by ({AT}, workload) (max_over_time({recorded(GPUS, _CHOSEN)}[{RANGE}] @ end()))"
