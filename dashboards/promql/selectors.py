"""Selectors narrowed by a dashboard's variables, and the queries of several dashboards that are made of them."""

from typing import Final, Literal

from dashboards.rules.fleet import GPU_ENERGY, HOST, NODE_EDGES, NODE_GAIN
from dashboards.rules.model import STEP_S, bound
from dashboards.rules.steering import GPUS as GROUP_GPUS
from dashboards.rules.steering import PROVEN, change
from energy_agent.core.catalogue.node import metric

Scope = Literal["fleet", "node", "gpu", "workload", "site", "zone", "site_process", "job", "cluster"]

AT: Final = "cluster, job, instance"
"""Labels that identify a node."""
GROUP: Final = f"{AT}, group"
"""Labels that identify a steering group."""
MOST: Final = 10
"""How many series a graph by workload, run or group has at most."""
GPUS: Final = f'bucket!="{HOST}"'
"""Matcher of all buckets of GPUs."""
_NODE: Final = ('cluster=~"$cluster"', 'job=~"$job"', 'instance=~"$instance"')

_CHOSEN = 'group=~"$group"'
_SCOPES: dict[Scope, tuple[str, ...]] = {
    "node": _NODE,
    "gpu": (*_NODE, 'gpu=~"$gpu"'),
    "workload": (*_NODE, 'workload=~"$workload"'),
    "site": ('cluster=~"$cluster"', 'site=~"$site"'),  # one process per site: the site identifies the instance
    "zone": ('cluster=~"$cluster"', 'zone=~"$zone"'),
    "site_process": ('cluster=~"$cluster"',),  # of its sources, which do not have its site as a label
    "job": ('cluster=~"$cluster"', 'job=~"$job"'),
    "fleet": ('cluster=~"$cluster"', 'job=~"$job"', 'site=~"$site"'),
    "cluster": ('cluster=~"$cluster"',),  # what need not have another of the labels, such as an alert
}


def series(name: str, *matchers: str, scope: Scope = "gpu") -> str:
    """Selector of a signal of the catalogue, narrowed by the dashboard's variables.

    Raises:
        LookupError: the catalogue exports no such signal.

    >>> series("gpu_power_watts", scope="node")
    'wattlens_gpu_power_watts{cluster=~"$cluster",job=~"$job",instance=~"$instance"}'
    """
    return recorded(metric(name), *matchers, scope=scope)


def recorded(name: str, *matchers: str, scope: Scope = "workload") -> str:
    """Selector of a metric by its full name, narrowed by the dashboard's variables."""
    return f"{name}{{{','.join((*_SCOPES[scope], *matchers))}}}"


def of_node(name: str, *matchers: str) -> str:
    """The same, narrowed by cluster, job and node alone."""
    return series(name, *matchers, scope="node")


def bucket(name: str) -> str:
    """Matcher of one of the ledger's buckets."""
    return f'bucket="{name}"'


def gpu_power(scope: Scope = "gpu") -> str:
    """Power of each GPU: the average, or the instant reading of a GPU that reports no average."""
    return f"({' or '.join(_power(scope))})"


def busiest_power(most: int) -> str:
    """The same of the GPUs with the highest means of the selected range."""
    means = " or ".join(f"avg_over_time({selector}[$__range] @ end())" for selector in _power("gpu"))
    return f"({gpu_power()} and topk({most}, {means}))"


def _power(scope: Scope) -> tuple[str, str]:
    return series("gpu_power_watts", scope=scope), series("gpu_power_instant_watts", scope=scope)


def busiest(selector: str, most: int = 16) -> str:
    """Of many series those with the highest means of the selected range, the same ones all along a graph."""
    return f"({selector} and topk({most}, avg_over_time({selector}[$__range] @ end())))"


def integral(selector: str) -> str:
    """Integral of a recorded rate over the selected time range, for each series; missing samples add nothing."""
    return f"(sum_over_time({selector}[$__range]) * {STEP_S})"


def over_fleet(name: str, *matchers: str) -> str:
    """The same over the selected sites and jobs."""
    return integral(recorded(name, *matchers, scope="fleet"))


def over_sites(name: str) -> str:
    """The same for series with a site and without a scrape job."""
    return integral(recorded(name, scope="site"))


def gpu_energy(band: str = "") -> str:
    """Energy of GPUs over the selected range, from their counters, or an end of its band.

    Its error is each GPU's gain, of which the largest that a node had stands for all of its GPUs, and an edge of each at both
    ends. A node of which neither is known is in the energy alone.
    """
    gained = f"increase({recorded(GPU_ENERGY, scope='fleet')}[$__range])"
    gain, edges = (
        f"max by ({AT}) (max_over_time({recorded(name, scope='fleet')}[$__range]))" for name in (NODE_GAIN, NODE_EDGES)
    )
    end = bound(f"sum({gained})", f"(sum(sum by ({AT}) ({gained}) * on ({AT}) {gain}) + 2 * sum({edges}))", band)
    return f"clamp_min({end}, 0)" if band == "_lower" else end


def gain_of(name: str, by: str = "") -> str:
    """Increase of a steering counter in the selected time range, summed over GPUs. `by` group: the group that has them now."""
    return _summed(f"increase({recorded(name, scope='gpu')}[$__range])", by)


def proven(name: str, by: str = "", scope: Scope = "gpu", *, less: str = "") -> str:
    """Change of a claim in the selected time range, `less` another one, summed as in `gain_of`: negative where it fell.

    Only for GPUs with a closed analysis: that of the others is unknown, which is not 0.
    """
    changes = " - ".join(change(recorded(each, scope=scope), "$__range") for each in (name, less) if each)
    ever = f"last_over_time({recorded(PROVEN, scope=scope)}[$__range])"
    return _summed(f"(({changes}) and on ({AT}, uuid) {ever})", by)


def _summed(expr: str, by: str) -> str:
    if by == GROUP:
        expr = f"{expr} * on ({AT}, uuid) group_left (group) {series('dvfs_group_info', _CHOSEN)}"
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def largest_groups(record: str) -> str:
    """A recorded series of the groups with the most GPUs in the selected time range: the same ones for the whole graph."""
    most = f"topk({MOST}, max by ({GROUP}) ({_group_gpus()}))"
    return f"max by ({GROUP}) ({recorded(record, _CHOSEN)} and on ({GROUP}) {most})"


def steered_workloads() -> str:
    """The workloads whose GPUs a chosen group had in the selected range."""
    return f"group by ({AT}, workload) ({_group_gpus()})"


def _group_gpus() -> str:
    return f"max_over_time({recorded(GROUP_GPUS, _CHOSEN)}[$__range] @ end())"
