"""Definition of a metric family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["counter", "gauge", "info", "histogram"]
Process = Literal["agent", "site"]


@dataclass(frozen=True, slots=True)
class SnapshotField:
    """Where a snapshot has a signal that is one number of one object; other signals are computed in `exposition`.

    Args:
        of: a reading (of `DeviceSample`), a fact (of `DeviceInfo`), health (of `HealthRecord`), a count of an inference server
            (of `TokenTotals`), or the ledger (`LedgerStats`).
        field: name of the field, or the quantity.
        write: its text in the signal's unit.
    """

    of: Literal["reading", "fact", "health", "server", "ledger"]
    field: str
    write: Callable[[Any], str] = str


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric family. `name` is without the `wattlens_` prefix and, for counters, with `_total`.

    Args:
        labels: in the order in which they are written. An empty value is left out, as Prometheus treats both the same.
        behaviour: when a series appears, goes and restarts.
        process: who exports it. A site's meters are polled by one process only, or a DaemonSet would count them once a node.
        reserved: the name is fixed, nothing exports it yet; dashboards and rules may not use it.
        value: where a snapshot has it.
    """

    name: str
    kind: Kind
    unit: str  # joules, watts, hertz, seconds, bytes, ratio, celsius, or "" for a count
    help: str
    labels: tuple[str, ...] = ()
    behaviour: str = ""
    process: Process = "agent"
    reserved: bool = False
    value: SnapshotField | None = None

    @property
    def metric(self) -> str:
        """The full name as exported."""
        return f"wattlens_{self.name}"
