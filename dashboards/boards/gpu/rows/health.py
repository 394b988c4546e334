"""The row of wear and errors of GPUs and links."""

from dashboards.dashboard import GPU, RATE, DashboardRows, Panel, PanelQuery, PanelRow, series, third

_ASKED = 'action!="none"'


def _rate(name: str, *matchers: str) -> str:
    return f"increase({series(name, *matchers)}[{RATE}])"


def _with_text(text: str, expr: str) -> str:
    """Add the text of a repair to each GPU."""
    by = f"max by (cluster, job, instance, gpu, uuid, action, link) ({expr})"
    return f'max by (cluster, job, instance, gpu, uuid, what, link) (label_replace({by}, "what", "{text}", "action", "(.*)"))'


def build_health_row() -> PanelRow:
    """Errors of memory and links, and the required actions."""
    now, most = series("gpu_pcie_link_lanes"), series("gpu_pcie_link_max_lanes")
    calls = (
        ("the driver asks for $1", f"{series('gpu_recovery_action', _ASKED)} == 1"),
        ("a row of memory waits for a reset", f"{series('gpu_row_remap_pending')} == 1"),
        ("a row of memory cannot be remapped: replace the board", f"{series('gpu_row_remap_failed')} == 1"),
        ("a page of memory waits for a reset", f"{series('gpu_page_retirement_pending')} == 1"),
        ("the PCIe link has fewer lanes than it could", f"{now} < {most}"),
        ("an NVLink is down or in no use", series("gpu_nvlink_down_info")),
    )
    return PanelRow(
        "GPU hardware and links",
        (
            Panel(
                "GPUs that need repair",
                "What the driver asks for (gpu_recovery_action), memory that waits for a reset or cannot be repaired "
                "(gpu_row_remap_pending, gpu_row_remap_failed, gpu_page_retirement_pending), PCIe links with fewer lanes than "
                "they could have (gpu_pcie_link_lanes, gpu_pcie_link_max_lanes) and NVLinks that are down or in no use "
                "(gpu_nvlink_down_info).",
                "none",
                (PanelQuery(" or ".join(_with_text(text, expr) for text, expr in calls), "calls"),),
                kind="table",
                width=24,
                no_value="nothing calls for a repair, or health is not read",
            ),
            Panel(
                "Activity",
                "Share of their peak at which parts of each GPU worked (gpu_activity_ratio): means of a health period, on "
                "Hopper and later, where sources.nvml.gpm is on.",
                "percentunit",
                (PanelQuery(series("gpu_activity_ratio", 'part=~"sm|tensor|dram"'), f"{GPU} {{{{part}}}}"),),
                width=24,
                minimum=0,
                maximum=1,
                no_value="GPM is off (sources.nvml.gpm), or no board has it",
            ),
            third(
                "ECC errors",
                "ECC errors in each step of the graph, by severity (gpu_ecc_errors_total). Corrected ones cost "
                "nothing; an uncorrected one ends what ran.",
                "short",
                (PanelQuery(_rate("gpu_ecc_errors_total"), f"{GPU} {{{{severity}}}}"),),
            ),
            third(
                "PCIe and NVLink errors",
                "PCIe packets sent again and NVLink errors in each step of the graph (gpu_pcie_replays_total, "
                "gpu_nvlink_errors_total).",
                "short",
                (
                    PanelQuery(_rate("gpu_pcie_replays_total"), f"{GPU} PCIe replays"),
                    PanelQuery(_rate("gpu_nvlink_errors_total"), f"{GPU} NVLink"),
                ),
            ),
            third(
                "PCIe and NVLink traffic",
                "Bytes per second over PCIe and NVLink, both directions (gpu_pcie_bytes_total, gpu_nvlink_bytes_total).",
                "Bps",
                (
                    PanelQuery(f"sum without (direction) (rate({series('gpu_pcie_bytes_total')}[{RATE}]))", f"{GPU} PCIe"),
                    PanelQuery(f"sum without (direction) (rate({series('gpu_nvlink_bytes_total')}[{RATE}]))", f"{GPU} NVLink"),
                ),
            ),
        ),
    )


SPEC = DashboardRows({80: build_health_row})
