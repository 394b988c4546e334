"""Recording rules for Prometheus: joules per token of groups, each of one job or engine over workloads and nodes.

A group's power and tokens are summed over its members once, for all boundaries and energies together, so that the cost of its
ratios depends on the number of groups and not of members. A name joins the workloads of one owner only (label `run` of
workload_info), so that a workload cannot join another owner's group. A group has power only while that of every member is
known; its error adds up linearly over them, as the systematic part of the sensors' does.
"""

from collections.abc import Iterator

from dashboards.rules.joules_per_token import per_token
from dashboards.rules.model import TOKEN_RATE, WINDOW, WORKLOAD_POWER, WORKLOAD_POWER_ERROR, RecordingRule
from energy_agent.core.catalogue.node import metric

GROUP_POWER = f"group:wattlens_workload_energy_joules:rate{WINDOW}"
GROUP_POWER_ERROR = f"group:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
GROUP_TOKENS = f"group_model:wattlens_tokens:rate{WINDOW}"
_GROUP = "cluster, run, group"
_BY = f"by ({_GROUP}, boundary, energy)"


def group_rules() -> Iterator[RecordingRule]:
    """The rules, after those that record the power and tokens of workloads."""
    info = f'{metric("workload_info")}{{run!=""}}'
    join = f"* on (cluster, job, instance, workload) group_left (run, group) {info}"
    for of_group, of_workload in ((GROUP_POWER, WORKLOAD_POWER), (GROUP_POWER_ERROR, WORKLOAD_POWER_ERROR)):
        known = f"count {_BY} ({of_workload} {join}) == on ({_GROUP}) group_left () count by ({_GROUP}) ({info})"
        yield RecordingRule(of_group, f"sum {_BY} ({of_workload} {join}) and ({known})")
    yield RecordingRule(GROUP_TOKENS, f"sum by ({_GROUP}, model, tokens) ({TOKEN_RATE} {join})")
    yield from per_token("group_model", GROUP_TOKENS, GROUP_POWER, GROUP_POWER_ERROR)
