"""The rows of metered and unmetered energy, and of missing readings and sources with their reasons."""

from dashboards.dashboard import RANGE, DashboardRows, Link, Panel, PanelQuery, PanelRow, figure, recorded, series
from dashboards.promql.sums import bucket
from dashboards.rules.fleet import GPU_ENERGY, GPU_UNSEEN, HOST, METHOD_POWER, NODE_ANSWERED, NODE_KNOWN, NODE_POWER, integral

_NODE = "cluster, job, instance"
_NO_RULES = "no data: no agent is scraped, or the recording rules are not loaded"
_OFF = 'reason=~".*NOT_SUPPORTED|FUNCTION_NOT_FOUND"'
_FAILED = 'reason!~".*NOT_SUPPORTED|FUNCTION_NOT_FOUND"'
_TO_NODE = Link("Node and GPUs", "wattlens-gpu", {"instance": "instance"})


def coverage() -> PanelRow:
    """Metered energy, and its share with a known owner."""
    seen, unseen = (f"increase({recorded(name, scope='node')}[{RANGE}])" for name in (GPU_ENERGY, GPU_UNSEEN))
    share = f"clamp_max(sum({unseen}) / (sum({seen}) > 0), 1)"
    power = recorded(NODE_POWER, f'bucket!="{HOST}"', scope="node")
    lost = recorded(NODE_POWER, bucket("unattributed"), scope="node")
    whole = f"(sum({integral(power, RANGE)}) > 0)"
    answered, known = (f"sum(sum_over_time({recorded(name, scope='node')}[{RANGE}]))" for name in (NODE_ANSWERED, NODE_KNOWN))
    return PanelRow(
        "Coverage",
        (
            figure(
                "Share of responsive GPUs",
                "Mean over the selected range of the share of known GPUs that answered (gpu_up). A node that is not scraped is "
                "in neither number.",
                "percentunit",
                (PanelQuery(f"{answered} / {known}", "answered"),),
                width=6,
                maximum=1,
                no_value=_NO_RULES,
            ),
            figure(
                "Unmeasured energy, upper bound",
                "Upper bound of the energy of the selected range that no sensor saw, as a share of what was metered "
                "(gpu_energy_gap_bound_joules_total of gpu_energy_joules_total); 100 % stands for all that is more.",
                "percentunit",
                (PanelQuery(share, "unseen, at most"),),
                width=6,
                maximum=1,
                no_value="no data: choose five minutes or more; no agent is scraped, or the recording rules are not loaded",
            ),
            figure(
                "Unattributed energy by reason",
                "Share of the GPUs' energy of the selected range whose holder is not known "
                "(gpu_unattributed_energy_joules_total): the holder could not be named (unknown_holder), a gap with no "
                "holder proven at both ends (gap), or before the first answer about holders (starting).",
                "percentunit",
                (PanelQuery(f"sum by (reason) ({integral(lost, RANGE)}) / on () group_left () {whole}", "{{reason}}"),),
                width=12,
                maximum=1,
                no_value=_NO_RULES,
            ),
            Panel(
                "Power by measurement method",
                "Power of GPUs over five minutes by method: the hardware counter, integrated power, a gap that the counter "
                "bridged, or a model (gpu_energy_joules_total). Of all chosen clusters and jobs.",
                "watt",
                (PanelQuery(f"sum by (method) ({recorded(METHOD_POWER, scope='job')})", "{{method}}"),),
                minimum=0,
                stacked=True,
                no_value=_NO_RULES,
            ),
            Panel(
                "Top 10 nodes by unmeasured energy",
                "Upper bound of what no sensor saw in the selected range, and what was metered "
                "(gpu_energy_gap_bound_joules_total, gpu_energy_joules_total).",
                "joule",
                (
                    PanelQuery(f"topk(10, sum by ({_NODE}) ({unseen}))", "unseen, at most"),
                    PanelQuery(f"sum by ({_NODE}) ({seen}) and on ({_NODE}) topk(10, sum by ({_NODE}) ({unseen}))", "metered"),
                ),
                kind="table",
                no_value="no data: choose five minutes or more; no agent is scraped, or the recording rules are not loaded",
                links=(_TO_NODE,),
            ),
        ),
    )


def absent() -> PanelRow:
    """Missing readings with reasons; failures are separate from unsupported features."""
    down = series("source_down_info", scope="node")
    answered = f"time() - {series('source_last_success_timestamp_seconds', scope='node')}"
    of = "on (cluster, job, instance, source, device)"
    failed, off = (f"count by (field, reason) ({series('gpu_absent_info', which, scope='node')})" for which in (_FAILED, _OFF))
    return PanelRow(
        "Missing readings and reasons",
        (
            Panel(
                "Sources down, first 50",
                "Sources that did not answer their last poll, with the reason (source_down_info), and how long ago they last "
                "did (source_last_success_timestamp_seconds); empty where they never did since the process started.",
                "none",
                (
                    PanelQuery(f"topk(50, {down})", "down"),
                    PanelQuery(f"topk(50, {answered} and {of} {down})", "last answer ago", "s"),
                ),
                kind="table",
                width=24,
                no_value="every source answers, or no agent is scraped",
                links=(_TO_NODE,),
            ),
            Panel(
                "Sources down by reason",
                "How many sources of all chosen nodes are down, by source and reason (source_down_info).",
                "none",
                (PanelQuery(f"topk(50, count by (source, reason) ({down}))", "sources", "short"),),
                kind="table",
                width=8,
                no_value="every source answers, or no agent is scraped",
            ),
            Panel(
                "Failed readings by reason",
                "How many GPUs lack a reading that they could give: a failure, with the driver's reason (gpu_absent_info). "
                "Field device stands for all of a GPU's readings.",
                "none",
                (PanelQuery(f"topk(50, {failed})", "GPUs that fail", "short"),),
                kind="table",
                width=8,
                no_value="no reading fails, or no agent is scraped",
            ),
            Panel(
                "Unsupported readings",
                "How many GPUs lack a reading because board or driver do not support it: no failure, and nothing to mend "
                "(gpu_absent_info).",
                "none",
                (PanelQuery(f"topk(50, {off})", "GPUs without it", "short"),),
                kind="table",
                width=8,
                no_value="every board has every reading, or no agent is scraped",
            ),
        ),
    )


SPEC = DashboardRows({20: coverage, 30: absent})
