"""What several boards join and choose by: a node, a group that is steered as one, and the largest of many."""

from dashboards.board import recorded, series
from dashboards.rules_steering import GPUS

AT = "cluster, job, instance"
"""Labels that tell a node."""
GROUP = f"{AT}, group"
"""Labels that tell a group that is steered as one."""
MOST = 10
"""How many series a graph by workload, run or group has at most."""
_CHOSEN = 'group=~"$group"'


def of_groups(expr: str) -> str:
    """A series of GPUs with the group that steers it; GPUs without one are left out."""
    return f"({expr} * on ({AT}, uuid) group_left (group) {series('dvfs_group_info', _CHOSEN)})"


def largest_groups(record: str, *matchers: str) -> str:
    """What is recorded of groups, of those with most GPUs."""
    most = f"topk({MOST}, sum by ({GROUP}) ({recorded(GPUS, _CHOSEN)}))"
    return f"max by ({GROUP}) ({recorded(record, _CHOSEN, *matchers)}) and on ({GROUP}) {most}"


def steered_workloads() -> str:
    """The workloads whose GPUs a chosen group has."""
    return f"group by ({AT}, workload) ({recorded(GPUS, _CHOSEN)})"
