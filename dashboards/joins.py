"""What several boards join and choose by: a node, a group that is steered as one, and the largest of many."""

from dashboards.board import RANGE, Scope, recorded
from dashboards.rules_steering import EXTRA, GPUS, SAVED

AT = "cluster, job, instance"
"""Labels that tell a node."""
GROUP = f"{AT}, group"
"""Labels that tell a group that is steered as one."""
MOST = 10
"""How many series a graph by workload, run or group has at most."""
_CHOSEN = 'group=~"$group"'


def booked(name: str, scope: Scope = "gpu") -> str:
    """What a counter of steering gained in the chosen time, of GPUs by the group that had them."""
    return f"increase({_counter(name, scope)}[{RANGE}])"


def proven(name: str, scope: Scope = "gpu") -> str:
    """Joules saved or lost of the chosen time, summed; none where nothing was ever booked."""
    ever = " + ".join(f"sum({_counter(each, scope)})" for each in (SAVED, EXTRA))
    return f"(sum({booked(name, scope)}) and ({ever} > 0))"


def _counter(name: str, scope: Scope) -> str:
    return recorded(name, *(() if scope == "fleet" else (_CHOSEN,)), scope=scope)


def largest_groups(record: str, *matchers: str) -> str:
    """What is recorded of groups, of those that had most GPUs in the chosen time: the same ones all along a graph."""
    most = f"topk({MOST}, sum by ({GROUP}) (max_over_time({recorded(GPUS, _CHOSEN)}[{RANGE}] @ end())))"
    return f"max by ({GROUP}) ({recorded(record, _CHOSEN, *matchers)} and on ({GROUP}) {most})"


def steered_workloads() -> str:
    """The workloads whose GPUs a chosen group had in the chosen time."""
    return f"group by ({AT}, workload) (max_over_time({recorded(GPUS, _CHOSEN)}[{RANGE}] @ end()))"
