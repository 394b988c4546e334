"""Joins: which GPUs a workload holds, which group steers a GPU, and the largest of many.

Several workloads may hold one GPU, so series of GPUs are the `one` side and holders the `many` side of a join.
"""

from dashboards.board import RATE, series

AT = "cluster, job, instance"
"""Labels that tell a node."""
GROUP = f"{AT}, group"
"""Labels that tell a group that is steered as one."""
MOST = 10
"""How many series a graph by workload, run or group has at most."""


def of_holders(selector: str) -> str:
    """A series of GPUs, for each workload that holds the GPU now: one that ended stays on the page, but gains no energy."""
    energy = series("workload_energy_joules_total", scope="workload")
    held = f"sum by ({AT}, workload, uuid) (rate({energy}[{RATE}])) > 0"
    return f"(clamp({held}, 1, 1) * on ({AT}, uuid) group_left (gpu) {selector})"


def of_groups(expr: str) -> str:
    """A series of GPUs with the group that steers it, its workload and its policy; GPUs without one are left out."""
    return f"({expr} * on ({AT}, uuid) group_left (group, workload, policy) {steered()})"


def largest_groups(expr: str) -> str:
    """Of a series of groups those with most GPUs."""
    return f"{expr} and on ({GROUP}) topk({MOST}, count by ({GROUP}) ({steered()}))"


def steered() -> str:
    """The GPUs that a chosen group has."""
    return series("dvfs_group_info", 'group=~"$group"')
