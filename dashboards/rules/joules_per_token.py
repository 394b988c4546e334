"""Recording rules for Prometheus: joules per token with its band, from the joule and token counters.

A workload that serves several models has one energy: its joules are shared over its models by their tokens, so each of its
models shows the workload's joules per token, and sums over models never count a joule twice. The band comes from the systematic
part of the sensors' error, which adds up linearly over GPUs. A workload on a GPU that was lost has no joules per token, as part
of its energy is not known. Without tokens there is no ratio, neither 0 nor infinity.

Boundaries: `gpu`; `node`, with the workload's share of the node around its GPUs, there only where a meter reads the whole node;
`facility`, the node's times the site's PUE of the last quarter of an hour, there only where the site process
exports one and the agents' targets carry a label `site` of its name; its band has the PUE's own error in it. A group (one job
or engine over several workloads and nodes) has the sum of its members, and nothing while the energy of any is not known.
"""

from collections.abc import Iterator

from dashboards.rules.model import (
    BANDS,
    BOUNDARIES,
    ENERGY,
    LOST_WINDOW,
    PRECISE_TOKEN_RATE,
    PUE,
    PUE_ERROR,
    SIGNS,
    TOKEN_RATE,
    TOKENS,
    WINDOW,
    WORKLOAD_POWER,
    WORKLOAD_POWER_ERROR,
    RecordingRule,
    end_of,
    joules_per_token,
)
from energy_agent.core.catalogue.node import metric

CATEGORIES = ("3.*", "2.*", "1.*", "stated")
"""Of the label `category` of a PUE, the best first."""
WINDOWS = "15m|"
"""Of its label `window`; a stated PUE has none."""
GROUP_POWER = f"group:wattlens_workload_energy_joules:rate{WINDOW}"
GROUP_POWER_ERROR = f"group:wattlens_workload_energy_uncertainty_joules:rate{WINDOW}"
GROUP_TOKENS = f"group_model:wattlens_tokens:rate{WINDOW}"
TOKEN_POWER = f"instance_workload_model:wattlens_joules_of_tokens:rate{WINDOW}"
"""Joules a second that went into generated tokens."""
KNOWN_TOKENS = f"instance_workload_model:wattlens_tokens_with_joules:rate{WINDOW}"
"""Generated tokens per second of workloads whose joules are known, by boundary."""
_GROUP = "cluster, run, group"
_BY_GROUP = f"by ({_GROUP}, boundary, energy)"


def rate_rules() -> Iterator[RecordingRule]:
    """Power of workloads at the boundary of the GPUs, its error, and their token rates."""
    counter = metric("workload_energy_joules_total")
    lost = (
        f"sum without (uuid, state, method, namespace, pod) (present_over_time({counter}[{LOST_WINDOW}])"
        f" * ignoring (workload, state, method, gpu, namespace, pod) group_left () ({metric('gpu_up')} == 0))"
    )
    for energy, states in ENERGY.items():
        per_gpu = f'sum without (state, method, namespace, pod) (rate({counter}{{state=~"{states}"}}[{WINDOW}]))'
        gain = f"ignoring (workload, gpu) group_left () {metric('gpu_energy_gain_uncertainty_ratio')}"
        labels = {"boundary": "gpu", "energy": energy}
        yield RecordingRule(WORKLOAD_POWER, f"sum without (uuid) ({per_gpu}) unless {lost}", labels)
        yield RecordingRule(WORKLOAD_POWER_ERROR, f"sum without (uuid) ({per_gpu} * {gain}) unless {lost}", labels)
    for tokens, phases in TOKENS.items():
        rate = f'rate({metric("tokens_total")}{{phase=~"{phases}"}}[{WINDOW}])'
        yield RecordingRule(TOKEN_RATE, f"sum without (phase) ({rate})", {"tokens": tokens})


def pue_rules() -> Iterator[RecordingRule]:
    """PUE of sites and its error, before the rules that use them.

    The site process exports a PUE for every category that its meters allow and for several windows. The rules take the newest
    window and of it the highest category, where IT is metered closest to the equipment (ISO/IEC 30134-2); a stated PUE is the
    last choice.
    """
    ratio, now = metric("pue_ratio"), f'window=~"{WINDOWS}"'
    best = [f'max by (site, category) ({ratio}{{{now},category=~"{category}"}})' for category in CATEGORIES]
    yield RecordingRule(PUE, " or on (site) ".join(best))
    above = f"max by (site, category) ({metric('pue_ratio_upper')}{{{now}}}) - on (site, category) {PUE}"
    below = f"{PUE} - on (site, category) min by (site, category) ({metric('pue_ratio_lower')}{{{now}}})"
    yield RecordingRule(PUE_ERROR, f"({above}) > ({below}) or ({below})")


def wider_boundary_rules() -> Iterator[RecordingRule]:
    """Power of workloads at the wider boundaries.

    The meter's error covers its whole reading, including the GPUs; the error of the GPUs is added, because it affects the
    shares of the workloads. While a GPU is lost, the meter cannot separate the host from it, and while the meter is silent
    nothing is measured: the host's counters do not advance. The rule then records no value, since that of the GPUs alone would
    pass for the node's. The ledger records unmetered time half a minute late, so the rule also checks for lost GPUs.
    """
    counter = metric("workload_nongpu_energy_joules_total")
    gain = f'sum without (domain) ({metric("node_nongpu_energy_gain_uncertainty_ratio")}{{domain="host"}})'
    pue, of_pue = (f"on (site) group_left () {name}" for name in (PUE, PUE_ERROR))
    for energy, states in ENERGY.items():
        inner = f'boundary="gpu",energy="{energy}"'
        around = f'sum without (domain, state, namespace, pod) (rate({counter}{{domain="host",state=~"{states}"}}[{WINDOW}]))'
        unseen = (
            f'sum without (domain) (rate({metric("node_nongpu_energy_gap_bound_joules_total")}{{domain="host"}}[{WINDOW}])) > 0'
        )
        blind = f"({unseen} or sum without (gpu, uuid) ({metric('gpu_up')} == 0))"
        around = f"({around} unless ignoring (workload) {blind})"
        watts = f"{WORKLOAD_POWER}{{{inner}}} + ignoring (boundary, energy) {around}"
        grown = f"({watts}) * ignoring (workload) group_left () {gain}"
        error = f"{WORKLOAD_POWER_ERROR}{{{inner}}} + ignoring (boundary, energy) {grown}"
        yield RecordingRule(WORKLOAD_POWER, watts, {"boundary": "node", "energy": energy})
        yield RecordingRule(WORKLOAD_POWER_ERROR, error, {"boundary": "node", "energy": energy})
    # Labels that a rule sets may not be in its result: vmalert keeps them as exported_boundary, and the next join fails.
    of_node = 'sum without (boundary) ({}{{boundary="node"}})'
    power, error = of_node.format(WORKLOAD_POWER), of_node.format(WORKLOAD_POWER_ERROR)
    yield RecordingRule(WORKLOAD_POWER, f"{power} * {pue}", {"boundary": "facility"})
    yield RecordingRule(WORKLOAD_POWER_ERROR, f"{error} * {pue} + ({power} + {error}) * {of_pue}", {"boundary": "facility"})


def per_token(level: str, tokens: str, power: str, error: str) -> Iterator[RecordingRule]:
    """Joules per token from power by boundary and energy and from tokens by model: watts times seconds per token.

    Args:
        level: of the ratio.
        tokens: name of the rule of tokens per second, by model and `tokens`.
        power: name of the rule of watts, by boundary and energy.
        error: of their error.
    """
    served, time = f"({tokens} > 0)", f"{level}:wattlens_seconds_per_token:ratio_rate{WINDOW}"
    yield RecordingRule(time, f"clamp({served}, 1, 1) / ignoring (model) group_left () sum without (model) ({served})")
    ratio = joules_per_token(level)
    for boundary in BOUNDARIES:
        for energy in ENERGY:
            watts = (
                f'ignoring (model, tokens, boundary, energy) group_left () {power}{{boundary="{boundary}",energy="{energy}"}}'
            )
            yield RecordingRule(ratio, f"{time} * {watts}", {"boundary": boundary, "energy": energy})
    # An end of the band joins the ratio, which has its boundary already, so one rule has all of them.
    for band, sign in SIGNS.items():
        share = f"ignoring (model, tokens) group_left () (1 {sign} {error} / ({power} > 0))"
        yield RecordingRule(joules_per_token(level, band), f"{ratio} * {share} or {ratio} == 0")


def precision_rules() -> Iterator[RecordingRule]:
    """As per model, of workloads whose precision is known, which their tokens are joined to once."""
    info = f'{metric("workload_info")}{{precision!=""}}'
    yield RecordingRule(
        PRECISE_TOKEN_RATE, f"{TOKEN_RATE} * on (cluster, job, instance, workload) group_left (precision) {info}"
    )
    yield from over_workloads("model_precision", PRECISE_TOKEN_RATE)


def over_workloads(level: str, tokens: str) -> Iterator[RecordingRule]:
    """The workloads' ratios, weighted by their tokens; the rule that has these may know more of them than the ratios do."""
    rate = f"* ignoring (boundary, energy, precision) group_left (precision) {tokens}"
    for band in BANDS:
        ratio = joules_per_token("instance_workload_model", band)
        joules, known_tokens = (f"sum without (instance, workload) ({of} {rate})" for of in (ratio, f"clamp({ratio}, 1, 1)"))
        yield RecordingRule(joules_per_token(level, band), f"{joules} / ({known_tokens} > 0)")


def model_rules() -> Iterator[RecordingRule]:
    """The series that a dashboard sums over workloads for joules per generated token by model.

    Ratios cannot be averaged, so the dashboard divides a sum of joules by one of tokens. Both are recorded for each workload
    and model, because the product of two selections of a whole fleet at every step of a graph takes seconds.
    """
    rate = f"ignoring (boundary, energy) group_left () {TOKEN_RATE}"
    whole = 'tokens="generation",energy="active_idle"'
    for band in BANDS:
        ratio, selector = joules_per_token("instance_workload_model", band), whole if band else 'tokens="generation"'
        yield RecordingRule(end_of(TOKEN_POWER, band), f"{ratio}{{{selector}}} * {rate}")
    known_tokens = f"clamp({joules_per_token('instance_workload_model')}{{{whole}}}, 1, 1) * {rate}"
    yield RecordingRule(KNOWN_TOKENS, f"sum without (energy) ({known_tokens})")


def group_rules() -> Iterator[RecordingRule]:
    """Joules per token of groups, each of one job or engine over workloads and nodes.

    A group's power and tokens are summed over its members once, for all boundaries and energies together, so that the cost of
    its ratios depends on the number of groups and not of members. A name joins the workloads of one owner only (label `run` of
    workload_info), so that a workload cannot join another owner's group. A group has power only while that of every member is
    known; its error adds up linearly over them, as the systematic part of the sensors' does.
    """
    info = f'{metric("workload_info")}{{run!=""}}'
    join = f"* on (cluster, job, instance, workload) group_left (run, group) {info}"
    for of_group, of_workload in ((GROUP_POWER, WORKLOAD_POWER), (GROUP_POWER_ERROR, WORKLOAD_POWER_ERROR)):
        complete_groups = (
            f"count {_BY_GROUP} ({of_workload} {join}) == on ({_GROUP}) group_left () count by ({_GROUP}) ({info})"
        )
        yield RecordingRule(of_group, f"sum {_BY_GROUP} ({of_workload} {join}) and ({complete_groups})")
    yield RecordingRule(GROUP_TOKENS, f"sum by ({_GROUP}, model, tokens) ({TOKEN_RATE} {join})")
    yield from per_token("group_model", GROUP_TOKENS, GROUP_POWER, GROUP_POWER_ERROR)
