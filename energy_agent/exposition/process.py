"""Samples that every Wattlens process exports: sources, ledger, configuration and process cost. Pure."""

import math
from typing import Protocol

from energy_agent.core.catalogue.node import values_of
from energy_agent.core.energy import SourceHealth
from energy_agent.core.snapshot import LedgerStats, ProcessCost
from energy_agent.core.units import NS_PER_S, decimal
from energy_agent.exposition.gpu import FamilySamples

_LEDGER = values_of("ledger")


class ProcessView(Protocol):
    """The part of a snapshot that is about the process."""

    @property
    def health(self) -> tuple[SourceHealth, ...]: ...  # noqa: D102
    @property
    def ledger(self) -> LedgerStats: ...  # noqa: D102
    @property
    def config_reload_ok(self) -> bool: ...  # noqa: D102
    @property
    def config_reload_success_ns(self) -> int | None: ...  # noqa: D102
    @property
    def processes(self) -> tuple[ProcessCost, ...]: ...  # noqa: D102


def put(snapshot: ProcessView, families: FamilySamples) -> None:
    """Add its samples."""

    def add(name: str, value: str | None, *labels: str) -> None:
        if value is not None:
            families[name].append((labels, value))

    for health in snapshot.health:
        key = (health.source, health.device)
        if not health.device:  # of a GPU, gpu_up has it
            add("source_up", _flag(health.up), health.source)
        add("source_down_info", None if health.up else "1", *key, health.reason)
        add("source_last_success_timestamp_seconds", _seconds(health.last_success_ns), *key)
        add("source_poll_seconds", _float(health.poll_s), *key)
    ledger = snapshot.ledger
    for name, value in _LEDGER:
        add(name, value.write(getattr(ledger, value.field)))
    add("ledger_writable", _flag(ledger.writable))
    add("ledger_last_commit_timestamp_seconds", _seconds(ledger.last_commit_ns))
    add("config_last_reload_successful", _flag(snapshot.config_reload_ok))
    add("config_last_reload_success_timestamp_seconds", _seconds(snapshot.config_reload_success_ns))
    for cost in snapshot.processes:
        add("process_cpu_seconds_total", _seconds(cost.cpu_ns), cost.process)
        add("process_resident_memory_bytes", str(cost.resident_b), cost.process)


def _seconds(value_ns: int | None) -> str | None:
    return None if value_ns is None else decimal(value_ns, NS_PER_S)


def _float(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else repr(float(value))


def _flag(value: bool) -> str:
    return "1" if value else "0"
