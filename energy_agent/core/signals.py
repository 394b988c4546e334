"""The metric catalogue: every name that Wattlens exports, with its kind, unit, labels and meaning.

Docs, dashboards and rules take names only from here. Names are frozen once released. Base units, `_total` on counters,
`_info` for facts; GPU series carry `gpu` and `uuid`.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "info"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric family. `name` is without the `wattlens_` prefix and, for counters, with `_total`."""

    name: str
    kind: Kind
    unit: str  # joules, watts, hertz, seconds, bytes, ratio, celsius, or "" for a count
    help: str
    labels: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The full name as exported."""
        return f"wattlens_{self.name}"
