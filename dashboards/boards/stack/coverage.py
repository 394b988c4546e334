"""The rows of metered and unmetered energy, and of missing readings and sources with their reasons."""

from dashboards.panels import GrafanaRow, Query, graph, link, row, stat, table, wide_table
from dashboards.promql.selectors import AT, GPUS, bucket, integral, of_node, recorded
from dashboards.rules.fleet import GPU_ENERGY, GPU_UNSEEN, METHOD_POWER, NODE_ANSWERED, NODE_KNOWN, NODE_POWER

_NO_RULES = "no data: no agent is scraped, or the recording rules are not loaded"
_OFF = 'reason=~".*NOT_SUPPORTED|FUNCTION_NOT_FOUND"'
_FAILED = 'reason!~".*NOT_SUPPORTED|FUNCTION_NOT_FOUND"'
_TO_NODE = link("Node and GPUs", "wattlens-gpu", "instance")


def coverage() -> GrafanaRow:
    """Metered energy, and its share with a known owner."""
    metered_energy, unseen = (f"increase({recorded(name, scope='node')}[$__range])" for name in (GPU_ENERGY, GPU_UNSEEN))
    power = recorded(NODE_POWER, GPUS, scope="node")
    lost = recorded(NODE_POWER, bucket("unattributed"), scope="node")
    whole = f"(sum({integral(power)}) > 0)"
    answered, known_gpus = (
        f"sum(sum_over_time({recorded(name, scope='node')}[$__range]))" for name in (NODE_ANSWERED, NODE_KNOWN)
    )
    return row(
        "Coverage",
        stat(
            "Share of responsive GPUs",
            "Mean over the selected range of the share of known GPUs that responded (gpu_up). Nodes that are not scraped "
            "are not counted.",
            "percentunit",
            {"responsive": f"{answered} / {known_gpus}"},
            width=6,
            no_value=_NO_RULES,
        ),
        stat(
            "Unmeasured energy, upper bound",
            "Upper bound of the energy in the selected range that no sensor measured, as a share of metered energy "
            "(gpu_energy_gap_bound_joules_total divided by gpu_energy_joules_total); a higher share is shown as 100 %.",
            "percentunit",
            {"unmeasured, at most": f"clamp_max(sum({unseen}) / (sum({metered_energy}) > 0 or sum({unseen}) > 0), 1)"},
            width=6,
            no_value="no data: select at least five minutes; or no agent is scraped, or the recording rules are not loaded",
        ),
        stat(
            "Unattributed energy by reason",
            "Share of GPU energy in the selected range whose workload is unknown (gpu_unattributed_energy_joules_total): "
            "no source names the workload (unknown_holder), a gap without a known workload at both ends (gap), or time "
            "before the first response of an owner source (starting).",
            "percentunit",
            {"{{reason}}": f"sum by (reason) ({integral(lost)}) / on () group_left () {whole}"},
            width=12,
            no_value=_NO_RULES,
        ),
        graph(
            "Power by measurement method",
            "GPU power over five minutes by method: the hardware counter, integrated power, a gap that the counter "
            "bridged, or a model (gpu_energy_joules_total), for all selected clusters and jobs.",
            "watt",
            {"{{method}}": f"sum by (method) ({recorded(METHOD_POWER, scope='job')})"},
            stacked=True,
            no_value=_NO_RULES,
        ),
        table(
            "Top 10 nodes by unmeasured energy",
            "Upper bound of the energy that no sensor measured in the selected range, and metered energy "
            "(gpu_energy_gap_bound_joules_total, gpu_energy_joules_total).",
            "joule",
            {
                "unmeasured, at most": f"topk(10, sum by ({AT}) ({unseen}))",
                "metered": f"sum by ({AT}) ({metered_energy}) and on ({AT}) topk(10, sum by ({AT}) ({unseen}))",
            },
            no_value="no data: select at least five minutes; or no agent is scraped, or the recording rules are not loaded",
            links=_TO_NODE,
        ),
    )


def absent() -> GrafanaRow:
    """Missing readings with reasons; failures are separate from unsupported features."""
    down = of_node("source_down_info")
    answered = f"time() - {of_node('source_last_success_timestamp_seconds')}"
    of = "on (cluster, job, instance, source, device)"
    failed, off = (f"count by (field, reason) ({of_node('gpu_absent_info', which)})" for which in (_FAILED, _OFF))
    return row(
        "Missing readings and reasons",
        wide_table(
            "Sources down, first 50",
            "Sources that did not respond to their last poll, with the reason (source_down_info), and the time since their "
            "last response (source_last_success_timestamp_seconds); empty if a source has not responded since the process "
            "started.",
            "none",
            {
                "down": f"topk(50, {down})",
                "last response age": Query(f"topk(50, {answered} and {of} {down})", "s"),
            },
            no_value="every source responds, or no agent is scraped",
            links=_TO_NODE,
        ),
        table(
            "Sources down by reason",
            "Number of sources down on all selected nodes, by source and reason (source_down_info).",
            "none",
            {"sources": Query(f"topk(50, count by (source, reason) ({down}))", "short")},
            width=8,
            no_value="every source responds, or no agent is scraped",
        ),
        table(
            "Failed readings by reason",
            "Number of GPUs that fail to return a supported reading, with the driver's reason (gpu_absent_info). Field "
            "device means all readings of a GPU.",
            "none",
            {"failing GPUs": Query(f"topk(50, {failed})", "short")},
            width=8,
            no_value="no reading fails, or no agent is scraped",
        ),
        table(
            "Unsupported readings",
            "Number of GPUs without a reading because the GPU or driver does not support it. This is not a failure "
            "(gpu_absent_info).",
            "none",
            {"GPUs without support": Query(f"topk(50, {off})", "short")},
            width=8,
            no_value="every GPU supports every reading, or no agent is scraped",
        ),
    )


SPEC = {20: coverage, 30: absent}
