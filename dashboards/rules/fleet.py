"""Recording rules for Prometheus: series of the fleet dashboards, so that a query over 8,000 GPUs costs as much as over 8.

Three levels. `instance_bucket`: power of a node by owner state; the buckets are disjoint, as in the ledger, and `host` is the
metered power other than that of the GPUs. `facts`: power of workloads, and rate of their generated tokens, by their labels.
`cluster_site`: power subject to a site's PUE and grid. Energy over a time is their sum over it times the rules' interval; like
the five-minute rate, it lacks the energy that a counter catches up after a longer silence. Energy in figures with a band comes
from the counters themselves, kept once in two minutes for each GPU (`uuid`), which lose nothing.

The facility's power and carbon are estimates: metered power of the nodes, times the site's PUE of the last quarter of an hour,
times the present intensity of its grid. They exist if the agents' targets carry a label `site` with the site's name. The
report, from cells of the ledger and the factors of each cell, is the book of record.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.model import (
    BANDS,
    PUE,
    PUE_ERROR,
    TOKEN_RATE,
    WINDOW,
    RecordingRule,
    bound,
    end_of,
    joules_per_token,
)
from energy_agent.core.catalogue.node import metric

BUCKETS: Final = ("active", "idle", "unheld", "unattributed")
"""Of a GPU's energy: held while a kernel ran, only held, held by nobody, holder not known."""
HOST: Final = "host"
FACTS: Final = ("namespace", "team", "project", "owner")

NODE_POWER: Final = f"instance_bucket:wattlens_energy_joules:rate{WINDOW}"
NODE_POWER_ERROR: Final = f"instance_bucket:wattlens_energy_uncertainty_joules:rate{WINDOW}"
NODE_ANSWERED: Final = "instance:wattlens_gpu_up:sum"
NODE_KNOWN: Final = "instance:wattlens_gpu_up:count"
"""GPUs of a node that answered, and all that it knows."""
METHOD_POWER: Final = f"cluster_site_method:wattlens_gpu_energy_joules:rate{WINDOW}"
POWER: Final = f"cluster_site_bucket:wattlens_energy_joules:rate{WINDOW}"
POWER_ERROR: Final = f"cluster_site_bucket:wattlens_energy_uncertainty_joules:rate{WINDOW}"
FACT_POWER: Final = f"facts_state:wattlens_workload_energy_joules:rate{WINDOW}"
FACT_POWER_ERROR: Final = f"facts_state:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
FACT_TOKENS: Final = f"facts_model:wattlens_generated_tokens:rate{WINDOW}"
TOKEN_POWER: Final = f"facts_model:wattlens_token_energy_joules:rate{WINDOW}"
"""Power of the workloads that generated tokens, by facts, model and boundary."""
FACILITY_POWER: Final = f"cluster_site:wattlens_facility_energy_joules:estimate{WINDOW}"
"""Power of a site's nodes times its PUE."""
CARBON: Final = f"cluster_site:wattlens_carbon_grams:estimate{WINDOW}"
"""That times the grid's intensity, in grams a second; its band leaves out the grid's own error."""
METER_CARBON: Final = f"cluster_site:wattlens_meter_carbon_grams:rate{WINDOW}"
"""Grams a second: what the feeds of a site take, times the intensity of its grid."""
GPU_ENERGY: Final = "uuid:wattlens_gpu_energy_joules_total"
NODE_GAIN: Final = "instance:wattlens_gpu_energy_gain_uncertainty_ratio:max"
NODE_EDGES: Final = "instance:wattlens_gpu_energy_edge_uncertainty_joules:sum"
GPU_UNSEEN: Final = "uuid:wattlens_gpu_energy_gap_bound_joules_total"

_FLEET: Final = ("cluster", "job", "site")
_HELD_ON: Final = "on (cluster, job, instance, workload)"
_J_PER_KWH: Final = 3_600_000


def node_rules() -> Iterator[RecordingRule]:
    """Power of nodes by owner state, and its error."""
    for operation, name in (("sum", NODE_ANSWERED), ("count", NODE_KNOWN)):
        yield RecordingRule(name, f"{operation} without (gpu, uuid) ({metric('gpu_up')})")
    workload_energy = metric("workload_energy_joules_total")
    for state in BUCKETS[:2]:
        rate = f'rate({workload_energy}{{state="{state}"}}[{WINDOW}])'
        yield RecordingRule(
            NODE_POWER, f"sum without (workload, namespace, pod, uuid, state, method) ({rate})", {"bucket": state}
        )
    for bucket, name in zip(
        BUCKETS[2:], ("gpu_unallocated_energy_joules_total", "gpu_unattributed_energy_joules_total"), strict=True
    ):
        yield RecordingRule(NODE_POWER, f"sum without (gpu, uuid) (rate({metric(name)}[{WINDOW}]))", {"bucket": bucket})
    around = metric("node_nongpu_energy_joules_total")
    # Energy that no meter saw stands still in the counters: then there is no power, not 0 W.
    gap_filter = f"unless sum without (domain) (rate({metric('node_nongpu_energy_gap_bound_joules_total')}[{WINDOW}])) > 0"
    yield RecordingRule(NODE_POWER, f"sum without (domain, method) (rate({around}[{WINDOW}])) {gap_filter}", {"bucket": HOST})
    gpus = f"rate({metric('gpu_energy_joules_total')}[{WINDOW}])"
    gain = f"ignoring (method) group_left () {metric('gpu_energy_gain_uncertainty_ratio')}"
    yield RecordingRule(NODE_POWER_ERROR, f"sum without (gpu, uuid, method) ({gpus} * {gain})", {"bucket": "gpu"})
    # The error of a whole-node meter covers its reading including the GPUs; that of a part's meter covers that part.
    of_meter = metric("node_nongpu_energy_gain_uncertainty_ratio")
    inner = f"sum without (gpu, uuid, method) ({gpus})"
    outer = f'sum without (domain, method) (rate({around}{{domain="host"}}[{WINDOW}]))'
    whole = f'({inner} + {outer}) * sum without (domain) ({of_meter}{{domain="host"}})'
    of_parts = f'rate({around}{{domain!="host"}}[{WINDOW}]) * ignoring (method) group_left () {of_meter}'
    yield RecordingRule(
        NODE_POWER_ERROR, f"({whole} or sum without (domain, method) ({of_parts})) {gap_filter}", {"bucket": HOST}
    )


def fleet_rules() -> Iterator[RecordingRule]:
    """Sums over nodes."""
    for rolled, of_nodes in ((POWER, NODE_POWER), (POWER_ERROR, NODE_POWER_ERROR)):
        yield RecordingRule(rolled, f"sum by ({', '.join(_FLEET)}, bucket, reason) ({of_nodes})")
    gpus = f"rate({metric('gpu_energy_joules_total')}[{WINDOW}])"
    yield RecordingRule(METHOD_POWER, f"sum by ({', '.join(_FLEET)}, method) ({gpus})")


def label_rules() -> Iterator[RecordingRule]:
    """Power and tokens of workloads by their labels."""
    info, facts = metric("workload_info"), ", ".join(FACTS)
    per_gpu = f"sum without (method, namespace, pod) (rate({metric('workload_energy_joules_total')}[{WINDOW}]))"
    by = f"sum by ({', '.join((*_FLEET, *FACTS))}, model, state)"
    label_join = f"{_HELD_ON} group_left ({facts}, model) {info}"
    gain = f"on (cluster, job, instance, uuid) group_left () {metric('gpu_energy_gain_uncertainty_ratio')}"
    yield RecordingRule(FACT_POWER, f"{by} (sum without (uuid) ({per_gpu}) * {label_join})")
    yield RecordingRule(FACT_POWER_ERROR, f"{by} (sum without (uuid) ({per_gpu} * {gain}) * {label_join})")
    chosen = '{energy="active_idle",tokens="generation"}'
    tokens = f'ignoring (energy, boundary) group_left () {TOKEN_RATE}{{tokens="generation"}}'
    join, by = f"{_HELD_ON} group_left ({facts}) {info}", f"sum by ({', '.join((*_FLEET, *FACTS))}, model, boundary)"
    for band in BANDS:
        ratio = f"{joules_per_token('instance_workload_model', band)}{chosen}"
        yield RecordingRule(end_of(TOKEN_POWER, band), f"{by} ({ratio} * {tokens} * {join})")
    served = f"clamp({joules_per_token('instance_workload_model')}{chosen}, 1, 1) * {tokens}"
    yield RecordingRule(FACT_TOKENS, f"{by} ({served} * {join})")


def site_rules() -> Iterator[RecordingRule]:
    """Estimates of the facility's power and carbon."""
    watts, error = (f'sum by (cluster, site) ({name}{{site!=""}})' for name in (POWER, POWER_ERROR))
    metrics = " or ".join(metric(name) for name in ("pue_ratio", "pue_absent_info", "facility_meter_info"))
    whose = f"on (job, instance) group_left (site) group by (job, instance, site) ({metrics})"
    grid = f"max by (site, zone, basis) ({metric('grid_carbon_intensity_grams_per_kilowatt_hour')} * {whose})"
    per_j = f"on (site) group_left (zone, basis) {grid} / {_J_PER_KWH}"
    feeds = f'rate({metric("facility_energy_joules_total")}{{role="total"}}[{WINDOW}])'
    yield RecordingRule(METER_CARBON, f"sum by (cluster, site) ({feeds}) * {per_j}")
    for band in BANDS:
        it = bound(watts, error, band)
        it = f"clamp_min({it}, 0)" if band == "_lower" else it  # a meter's error can be more than what little was drawn
        power = end_of(FACILITY_POWER, band)
        yield RecordingRule(power, f"{it} * on (site) group_left (category) {bound(PUE, PUE_ERROR, band)}")
        yield RecordingRule(end_of(CARBON, band), f"{power} * {per_j}")


def counter_rules() -> Iterator[RecordingRule]:
    """Energy counters of GPUs and their errors."""
    yield RecordingRule(GPU_ENERGY, f"sum without (method) ({metric('gpu_energy_joules_total')})")
    yield RecordingRule(NODE_GAIN, f"max without (gpu, uuid) ({metric('gpu_energy_gain_uncertainty_ratio')})")
    yield RecordingRule(NODE_EDGES, f"sum without (gpu, uuid) ({metric('gpu_energy_edge_uncertainty_joules')})")
    yield RecordingRule(GPU_UNSEEN, metric("gpu_energy_gap_bound_joules_total"))
