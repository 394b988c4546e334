"""The rows of wear and errors of GPUs and links, of DVFS, and of the health of sources, ledger and agent."""

from dashboards.panels import BLUE, GPU, GREY, ORANGE, PURPLE, GrafanaRow, graph, lights, link, row, third, wide_table
from dashboards.promql.selectors import of_node, series

_ASKED = 'action!="none"'


def _rate(name: str, *matchers: str) -> str:
    return f"increase({series(name, *matchers)}[$__rate_interval])"


def _with_text(text: str, expr: str) -> str:
    """Add the required repair to each GPU as the label `condition`."""
    by = f"max by (cluster, job, instance, gpu, uuid, action, link) ({expr})"
    named = f'label_replace({by}, "condition", "{text}", "action", "(.*)")'
    return f"max by (cluster, job, instance, gpu, uuid, condition, link) ({named})"


def build_health_row() -> GrafanaRow:
    """Errors of memory and links, and the required actions."""
    now, most = series("gpu_pcie_link_lanes"), series("gpu_pcie_link_max_lanes")
    calls = (
        ("the driver recommends $1", f"{series('gpu_recovery_action', _ASKED)} == 1"),
        ("memory row remapping is pending: reset the GPU", f"{series('gpu_row_remap_pending')} == 1"),
        ("memory row remapping failed: replace the GPU", f"{series('gpu_row_remap_failed')} == 1"),
        ("memory page retirement is pending: reset the GPU", f"{series('gpu_page_retirement_pending')} == 1"),
        ("PCIe link has fewer lanes than supported", f"{now} < {most}"),
        ("NVLink is down or not in use", series("gpu_nvlink_down_info")),
    )
    return row(
        "GPU hardware and links",
        wide_table(
            "GPUs that need repair",
            "Actions that the driver recommends (gpu_recovery_action), memory that needs a reset or cannot be repaired "
            "(gpu_row_remap_pending, gpu_row_remap_failed, gpu_page_retirement_pending), PCIe links with fewer lanes than "
            "supported (gpu_pcie_link_lanes, gpu_pcie_link_max_lanes) and NVLinks that are down or not in use "
            "(gpu_nvlink_down_info).",
            "none",
            {"calls": " or ".join(_with_text(text, expr) for text, expr in calls)},
            no_value="no GPU needs repair, or health is not read",
        ),
        graph(
            "Activity",
            "Activity of each part of a GPU as a share of its peak (gpu_activity_ratio): mean over a health period, on "
            "Hopper and later, if sources.nvml.gpm is on.",
            "percentunit",
            {f"{GPU} {{{{part}}}}": series("gpu_activity_ratio", 'part=~"sm|tensor|dram"')},
            width=24,
            no_value="GPM is off (sources.nvml.gpm), or no GPU supports it",
        ),
        third(
            "ECC errors",
            "ECC errors per step of the graph, by severity (gpu_ecc_errors_total). Corrected errors are harmless; an "
            "uncorrected error ends the running work.",
            "short",
            {f"{GPU} {{{{severity}}}}": _rate("gpu_ecc_errors_total")},
        ),
        third(
            "PCIe and NVLink errors",
            "PCIe replays and NVLink errors per step of the graph (gpu_pcie_replays_total, gpu_nvlink_errors_total).",
            "short",
            {
                f"{GPU} PCIe replays": _rate("gpu_pcie_replays_total"),
                f"{GPU} NVLink": _rate("gpu_nvlink_errors_total"),
            },
        ),
        third(
            "PCIe and NVLink traffic",
            "Bytes per second over PCIe and NVLink, both directions (gpu_pcie_bytes_total, gpu_nvlink_bytes_total).",
            "Bps",
            {
                f"{GPU} PCIe": f"sum without (direction) (rate({series('gpu_pcie_bytes_total')}[$__rate_interval]))",
                f"{GPU} NVLink": f"sum without (direction) (rate({series('gpu_nvlink_bytes_total')}[$__rate_interval]))",
            },
        ),
    )


def dvfs() -> GrafanaRow:
    """Steering of each GPU; requests, reasons and savings are on the DVFS dashboard."""
    shadow, enforce = series("dvfs_mode", 'mode="shadow"'), series("dvfs_mode", 'mode="enforce"')
    off = "DVFS is not configured here"
    its_board = link("Steering", "wattlens-dvfs", "instance")
    return row(
        "DVFS",
        lights(
            "Mode",
            "Mode of DVFS on each GPU: observe (only watch), shadow (decide without acting) or enforce (dvfs_mode).",
            "none",
            {GPU: f"sum without (mode) ({shadow} or 2 * {enforce} or 0 * {series('dvfs_mode')})"},
            states={"0": ("observe", GREY), "1": ("shadow", PURPLE), "2": ("enforce", BLUE)},
            no_value=off,
            links=its_board,
        ),
        lights(
            "Lease",
            "Whether the GPU has a lease; without a lease nothing is set (dvfs_lease_active).",
            "none",
            {GPU: series("dvfs_lease_active")},
            states={"0": ("no lease", GREY), "1": ("leased", BLUE)},
            no_value=off,
            links=its_board,
        ),
        third(
            "Power limit set by DVFS",
            "Power limit applied under the lease (dvfs_power_limit_watts). The clock limit is in the graph of clocks above.",
            "watt",
            {GPU: series("dvfs_power_limit_watts")},
            no_value="no power limit is set by DVFS",
            links=its_board,
        ),
    )


def health() -> GrafanaRow:
    """Failures, and the cost of the agent."""

    def named(expr: str) -> str:
        """With source and device in one label: Grafana writes the name of a label that a series does not have."""
        return f'label_join({expr}, "what", " ", "source", "device")'

    return row(
        "Agent health",
        lights(
            "Sources",
            "Whether each source responded to its last poll (source_up).",
            "none",
            {"{{instance}} {{what}}": named(of_node("source_up"))},
            width=24,
            states={"0": ("down", ORANGE), "1": ("up", BLUE)},
        ),
        wide_table(
            "Missing readings and reasons",
            "Readings that a GPU does not return and sources that do not respond, with the reason (gpu_absent_info, "
            "source_down_info). Not supported is a property of the GPU; every other reason is a failure.",
            "none",
            {"reading": series("gpu_absent_info"), "source": of_node("source_down_info")},
            no_value="every source responds and no reading is missing, or the agent is not scraped",
        ),
        third(
            "XID errors",
            "XID errors that the driver reported, by code (gpu_xid_errors_total).",
            "short",
            {f"{GPU} XID {{{{xid}}}}": f"sum by (instance, gpu, xid) ({series('gpu_xid_errors_total')})"},
            no_value="no XID error was reported, or the agent is not scraped",
        ),
        third(
            "Poll duration",
            "How long the last poll of each source took (source_poll_seconds).",
            "s",
            {"{{instance}} {{what}}": named(of_node("source_poll_seconds"))},
        ),
        lights(
            "Configuration",
            "Whether the last reload of the configuration succeeded; after a failure the agent keeps the previous one "
            "(config_last_reload_successful).",
            "none",
            {"{{instance}}": of_node("config_last_reload_successful")},
            states={"0": ("rejected, previous one in use", ORANGE), "1": ("in use", BLUE)},
        ),
        lights(
            "Ledger",
            "Whether the journal can be written (ledger_writable).",
            "none",
            {"{{instance}}": of_node("ledger_writable")},
            states={"0": ("not writable", ORANGE), "1": ("writable", BLUE)},
        ),
        third(
            "Age of the last ledger commit",
            "Time since the last commit to the journal; the agent publishes only committed data "
            "(ledger_last_commit_timestamp_seconds).",
            "s",
            {"{{instance}}": f"clamp_min(time() - {of_node('ledger_last_commit_timestamp_seconds')}, 0)"},
        ),
        third(
            "Failed commits and reader restarts",
            "Failed commits to the journal, and readers that were killed because a driver call hung, since the agent "
            "started (ledger_commit_failures_total, reader_restarts_total).",
            "short",
            {
                "{{instance}} failed commits": of_node("ledger_commit_failures_total"),
                "{{instance}} reader restarts": of_node("reader_restarts_total"),
            },
        ),
        third(
            "Journal size",
            "Size of the journal on disk (ledger_journal_bytes).",
            "bytes",
            {"{{instance}}": of_node("ledger_journal_bytes")},
        ),
        third(
            "Agent CPU time",
            "CPU cores used by each process of the agent (process_cpu_seconds_total).",
            "short",
            {"{{instance}} {{process}}": f"rate({of_node('process_cpu_seconds_total')}[$__rate_interval])"},
            decimals=4,
        ),
        third(
            "Agent memory",
            "Resident memory of each process of the agent (process_resident_memory_bytes).",
            "bytes",
            {"{{instance}} {{process}}": of_node("process_resident_memory_bytes")},
        ),
    )


SPEC = {80: build_health_row, 70: dvfs, 90: health}
