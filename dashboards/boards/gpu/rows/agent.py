"""The rows of DVFS and of the health of GPUs, sources, ledger and agent."""

from dashboards.dashboard import (
    BLUE,
    GPU,
    GREY,
    ORANGE,
    PURPLE,
    RATE,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    lights,
    series,
    third,
)


def dvfs() -> PanelRow:
    """Steering of each GPU; requests, reasons and savings are on the DVFS dashboard."""
    shadow, enforce = series("dvfs_mode", 'mode="shadow"'), series("dvfs_mode", 'mode="enforce"')
    off = "DVFS is not configured here"
    its_board = (Link("Steering", "wattlens-dvfs", {"instance": "instance"}),)
    return PanelRow(
        "DVFS",
        (
            lights(
                "Mode",
                "Mode of DVFS on each GPU: observe (only watch), shadow (decide without acting) or enforce (dvfs_mode).",
                "none",
                (PanelQuery(f"sum without (mode) ({shadow} or 2 * {enforce})", GPU),),
                states={"0": ("observe", GREY), "1": ("shadow", PURPLE), "2": ("enforce", BLUE)},
                no_value=off,
                links=its_board,
            ),
            lights(
                "Lease",
                "Whether the GPU has a lease; without a lease nothing is set (dvfs_lease_active).",
                "none",
                (PanelQuery(series("dvfs_lease_active"), GPU),),
                states={"0": ("no lease", GREY), "1": ("leased", BLUE)},
                no_value=off,
                links=its_board,
            ),
            third(
                "Power limit set by DVFS",
                "Power limit applied under the lease (dvfs_power_limit_watts). The clock limit is in the graph of clocks "
                "above.",
                "watt",
                (PanelQuery(series("dvfs_power_limit_watts"), GPU),),
                no_value="no power limit is set by DVFS",
                links=its_board,
            ),
        ),
    )


def health() -> PanelRow:
    """Failures, and the cost of the agent."""

    def node(name: str, *matchers: str) -> str:
        return series(name, *matchers, scope="node")

    def named(expr: str) -> str:
        """With source and device in one label: Grafana writes the name of a label that a series does not have."""
        return f'label_join({expr}, "what", " ", "source", "device")'

    return PanelRow(
        "Agent health",
        (
            Panel(
                "Sources",
                "Whether each source responded to its last poll (source_up).",
                "none",
                (PanelQuery(named(node("source_up")), "{{instance}} {{what}}"),),
                kind="states",
                width=24,
                states={"0": ("down", ORANGE), "1": ("up", BLUE)},
            ),
            Panel(
                "Missing readings and reasons",
                "Readings that a GPU does not return and sources that do not respond, with the reason (gpu_absent_info, "
                "source_down_info). Not supported is a property of the GPU; every other reason is a failure.",
                "none",
                (PanelQuery(series("gpu_absent_info"), "reading"), PanelQuery(node("source_down_info"), "source")),
                kind="table",
                width=24,
                no_value="every source responds and no reading is missing, or the agent is not scraped",
            ),
            third(
                "XID errors",
                "XID errors that the driver reported, by code (gpu_xid_errors_total).",
                "short",
                (PanelQuery(f"sum by (instance, gpu, xid) ({series('gpu_xid_errors_total')})", f"{GPU} XID {{{{xid}}}}"),),
                no_value="no XID error was reported, or the agent is not scraped",
            ),
            third(
                "Poll duration",
                "How long the last poll of each source took (source_poll_seconds).",
                "s",
                (PanelQuery(named(node("source_poll_seconds")), "{{instance}} {{what}}"),),
            ),
            lights(
                "Configuration",
                "Whether the last reload of the configuration succeeded; after a failure the agent keeps the previous one "
                "(config_last_reload_successful).",
                "none",
                (PanelQuery(node("config_last_reload_successful"), "{{instance}}"),),
                states={"0": ("rejected, previous one in use", ORANGE), "1": ("in use", BLUE)},
            ),
            lights(
                "Ledger",
                "Whether the journal can be written (ledger_writable).",
                "none",
                (PanelQuery(node("ledger_writable"), "{{instance}}"),),
                states={"0": ("not writable", ORANGE), "1": ("writable", BLUE)},
            ),
            third(
                "Age of the last ledger commit",
                "Time since the last commit to the journal; the agent publishes only committed data "
                "(ledger_last_commit_timestamp_seconds).",
                "s",
                (PanelQuery(f"clamp_min(time() - {node('ledger_last_commit_timestamp_seconds')}, 0)", "{{instance}}"),),
            ),
            third(
                "Failed commits and reader restarts",
                "Failed commits to the journal, and readers that were killed because a driver call hung, since the agent "
                "started (ledger_commit_failures_total, reader_restarts_total).",
                "short",
                (
                    PanelQuery(node("ledger_commit_failures_total"), "{{instance}} failed commits"),
                    PanelQuery(node("reader_restarts_total"), "{{instance}} reader restarts"),
                ),
            ),
            third(
                "Journal size",
                "Size of the journal on disk (ledger_journal_bytes).",
                "bytes",
                (PanelQuery(node("ledger_journal_bytes"), "{{instance}}"),),
            ),
            third(
                "Agent CPU time",
                "CPU cores used by each process of the agent (process_cpu_seconds_total).",
                "short",
                (PanelQuery(f"rate({node('process_cpu_seconds_total')}[{RATE}])", "{{instance}} {{process}}"),),
                decimals=4,
            ),
            third(
                "Agent memory",
                "Resident memory of each process of the agent (process_resident_memory_bytes).",
                "bytes",
                (PanelQuery(node("process_resident_memory_bytes"), "{{instance}} {{process}}"),),
            ),
        ),
    )


SPEC = DashboardRows({70: dvfs, 90: health})
