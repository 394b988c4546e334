"""Definition of a metric family."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "info", "histogram"]
Process = Literal["agent", "site"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric family. `name` is without the `wattlens_` prefix and, for counters, with `_total`.

    Args:
        labels: in the order in which they are written. An empty value is left out, as Prometheus treats both the same.
        behaviour: when a series appears, goes and restarts.
        process: who exports it. A site's meters are polled by one process only, or a DaemonSet would count them once a node.
        reserved: the name is fixed, nothing exports it yet; dashboards and rules may not use it.
    """

    name: str
    kind: Kind
    unit: str  # joules, watts, hertz, seconds, bytes, ratio, celsius, or "" for a count
    help: str
    labels: tuple[str, ...] = ()
    behaviour: str = ""
    process: Process = "agent"
    reserved: bool = False

    @property
    def metric(self) -> str:
        """The full name as exported."""
        return f"wattlens_{self.name}"
