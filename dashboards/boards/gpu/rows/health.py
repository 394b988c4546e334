"""The row of wear and errors of GPUs and links."""

from dashboards.dashboard import GPU, RATE, DashboardRows, Panel, PanelQuery, PanelRow, series, third

_ASKED = 'action!="none"'


def _rate(name: str, *matchers: str) -> str:
    return f"increase({series(name, *matchers)}[{RATE}])"


def _with_text(text: str, expr: str) -> str:
    """Add the required repair to each GPU as the label `condition`."""
    by = f"max by (cluster, job, instance, gpu, uuid, action, link) ({expr})"
    named = f'label_replace({by}, "condition", "{text}", "action", "(.*)")'
    return f"max by (cluster, job, instance, gpu, uuid, condition, link) ({named})"


def build_health_row() -> PanelRow:
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
    return PanelRow(
        "GPU hardware and links",
        (
            Panel(
                "GPUs that need repair",
                "Actions that the driver recommends (gpu_recovery_action), memory that needs a reset or cannot be repaired "
                "(gpu_row_remap_pending, gpu_row_remap_failed, gpu_page_retirement_pending), PCIe links with fewer lanes than "
                "supported (gpu_pcie_link_lanes, gpu_pcie_link_max_lanes) and NVLinks that are down or not in use "
                "(gpu_nvlink_down_info).",
                "none",
                (PanelQuery(" or ".join(_with_text(text, expr) for text, expr in calls), "calls"),),
                kind="table",
                width=24,
                no_value="no GPU needs repair, or health is not read",
            ),
            Panel(
                "Activity",
                "Activity of each part of a GPU as a share of its peak (gpu_activity_ratio): mean over a health period, on "
                "Hopper and later, if sources.nvml.gpm is on.",
                "percentunit",
                (PanelQuery(series("gpu_activity_ratio", 'part=~"sm|tensor|dram"'), f"{GPU} {{{{part}}}}"),),
                width=24,
                minimum=0,
                maximum=1,
                no_value="GPM is off (sources.nvml.gpm), or no GPU supports it",
            ),
            third(
                "ECC errors",
                "ECC errors per step of the graph, by severity (gpu_ecc_errors_total). Corrected errors are harmless; an "
                "uncorrected error ends the running work.",
                "short",
                (PanelQuery(_rate("gpu_ecc_errors_total"), f"{GPU} {{{{severity}}}}"),),
            ),
            third(
                "PCIe and NVLink errors",
                "PCIe replays and NVLink errors per step of the graph (gpu_pcie_replays_total, gpu_nvlink_errors_total).",
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
