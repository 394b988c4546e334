"""Metrics of a Wattlens process, of the agent and of a site: its sources, ledger, configuration and cost. Pure."""

from math import isfinite
from typing import Any, Final

from energy_agent.core.catalogue.metric import NODE, Labels, Row, Scrape, Signal, Source, flag, listed
from energy_agent.core.energy import Identity, SourceHealth
from energy_agent.core.units import real


def _node(snapshot: Any) -> Labels:
    identity: Identity = snapshot.identity
    return identity.cluster, identity.node, str(identity.simulated).lower()


def _node_sources(scrape: Scrape[Any]) -> list[Row]:
    """Without GPUs, of which gpu_up has it."""
    return [((source,), health) for (source, device), health in scrape.of(SOURCES.rows) if not device]


def _down(health: SourceHealth) -> Labels:
    return () if health.up else (health.reason,)


def _poll_s(health: SourceHealth) -> float | None:
    return health.poll_s if health.poll_s is not None and isfinite(health.poll_s) else None


SOURCES: Final = listed("health", "source", "device")
COSTS: Final = listed("processes", "process")
_ALWAYS: Final = "Always present."
_COUNTED: Final = "Always present; counts since the agent started."

IDENTITY: Final = (
    Signal("build_info", "Version of the running agent.", "Always 1; the labels have the information.", NODE,
           "identity.version", ("version",)),
    Signal("node_info", "Identity of the node; simulated: whether its hardware is simulated.",
           "Always 1; the labels have the information.", NODE, _node, ("cluster", "node", "simulated")),
)  # fmt: skip
STATE: Final = (
    # Sources
    Signal("source_up", "1 if the source responded to the last poll, else 0.",
           "Present while the source is configured. For GPUs see gpu_up.", Source(("source",), _node_sources), "up",
           text=flag),
    Signal("source_down_info", "Why a source does not respond.",
           "Present only while the source is down; an empty device: the source serves the whole node.", SOURCES, _down,
           ("reason",)),
    Signal("source_last_success_timestamp_seconds", "Time of the last response of the source, UTC.",
           "Appears with the first response.", SOURCES, "last_success_ns"),
    Signal("source_poll_seconds", "Duration of the last poll.", "Appears with the first poll.", SOURCES, _poll_s, text=real),
    # Ledger
    Signal("ledger_journal_bytes", "Size of the journal on disk.", _ALWAYS, NODE, "ledger.journal_bytes"),
    Signal("ledger_commits_total", "Commits to the journal.", _COUNTED, NODE, "ledger.commits_total"),
    Signal("ledger_commit_failures_total", "Failed commits, which are retried.", _COUNTED, NODE,
           "ledger.commit_failures_total"),
    Signal("ledger_segments_total", "Segments closed.", _COUNTED, NODE, "ledger.segments_total"),
    Signal("ledger_writable", "1 if the journal can be written, else 0.", _ALWAYS, NODE, "ledger.writable", text=flag),
    Signal("ledger_journals_moved_aside",
           "Journals in the state folder that were damaged or of another format, and were moved aside.", _ALWAYS, NODE,
           "ledger.moved_aside"),
    Signal("ledger_last_commit_timestamp_seconds", "Time of the last commit to the journal, UTC.",
           "Appears with the first commit.", NODE, "ledger.last_commit_ns"),
    # Configuration
    Signal("config_last_reload_successful", "1 if the last reload of the configuration succeeded, else 0.", _ALWAYS, NODE,
           "config_reload_ok", text=flag),
    Signal("config_last_reload_success_timestamp_seconds", "Time of the last successful reload of the configuration, UTC.",
           "Appears with the first successful reload.", NODE, "config_reload_success_ns"),
)  # fmt: skip
READER: Final = (
    Signal("reader_restarts_total", "Reader processes that were killed because a call did not return.", _COUNTED, NODE,
           "reader_restarts_total"),
)  # fmt: skip
COST: Final = (
    Signal("process_cpu_seconds_total", "CPU time of a process of the agent.",
           "Present while the process runs; restarts at 0 with the process.", COSTS, "cpu_ns"),
    Signal("process_resident_memory_bytes", "Resident memory of a process of the agent.", "Present while the process runs.",
           COSTS, "resident_b"),
)  # fmt: skip
