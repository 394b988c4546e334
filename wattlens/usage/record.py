"""Rows of a period in memory, as segments and the counters in a Prometheus give them. `opened` makes tables of them for SQL.

They are day sums (energy_agent/ledger/fleet/day_sums.py) and rows of the kinds that statements read besides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS
from energy_agent.ledger.fleet.parquet import COLUMNS

Columns = Mapping[str, Sequence[Any]]
Owner = tuple[str, str, str]
"""Cluster, node and workload."""
KINDS: Final = ("workload", "device", "gap", "tokens", "steps", "phase")
"""Kinds of rows that a statement reads besides day sums."""
_WHERE: Final = {"day_ns": "int64", "cluster": "string", "node": "string"}
TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    **{kind: {"day_ns": "int64", **columns} for kind, columns in DAY_COLUMNS.items()},
    **{kind: {**_WHERE, "sequence": "int64", **COLUMNS[kind]} for kind in KINDS},
}
"""Columns of each table with their types; `sequence` is that of the segment, which decides between equal times."""


@dataclass(slots=True)
class EnergyRecord:
    """Rows of a source within [start_ns, end_ns).

    Args:
        source: where they come from, for people.
        tables: columns of each of TABLES; rows of `day_ns` 0 are not of a day.
        first_ns, last_ns: between which times the source has anything, of this period or not; None: unknown.
    """

    source: str
    start_ns: int
    end_ns: int
    tables: dict[str, dict[str, list[Any]]] = field(
        default_factory=lambda: {kind: {name: [] for name in columns} for kind, columns in TABLES.items()}
    )
    simulated: bool = False
    first_ns: int | None = None
    last_ns: int | None = None

    def cover(self, first_ns: int, last_ns: int) -> None:
        """Note that the source has something between two times, of this period or not."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)

    def add(self, kind: str, columns: Columns, **same: Any) -> None:
        """Add rows of a kind as columns; `same` are values that all of them have. A missing number is 0, a text ""."""
        rows = max(map(len, columns.values()), default=0)
        for name, kind_of_value in TABLES[kind].items():
            missing = "" if kind_of_value == "string" else 0
            self.tables[kind][name].extend(columns[name] if name in columns else [same.get(name, missing)] * rows)

    def add_row(self, kind: str, **values: Any) -> None:
        """Add one row."""
        self.add(kind, {name: (value,) for name, value in values.items()})

    def add_day(self, day_ns: int, kind: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add day sums of a kind as rows."""
        self.add(kind, dict(zip(DAY_COLUMNS[kind], zip(*rows, strict=True), strict=False)), day_ns=day_ns)

    def add_labels(self, owner: Owner, since_ns: int, kind: str, labels: str, sequence: int = 0) -> None:
        """Add kind and labels (JSON) of a workload: of the day that they begin on, and for what it used before."""
        names = dict(zip(("cluster", "node", "workload"), owner, strict=True))
        for day_ns in {0, day_of(since_ns)}:
            self.add_row(
                "workload", **names, day_ns=day_ns, since_ns=since_ns, workload_kind=kind, labels=labels, sequence=sequence
            )

    def days(self) -> list[int]:
        """The UTC days that have rows of energy or device time."""
        return sorted({*self.tables["holder_day"]["day_ns"], *self.tables["span_day"]["day_ns"]})


def day_of(t_ns: int) -> int:
    """The UTC day of a time."""
    return t_ns - t_ns % NS_PER_DAY


def rows_of(columns: Columns, *names: str) -> Iterable[tuple[Any, ...]]:
    """The rows of columns as tuples of some of them."""
    return zip(*(columns[name] for name in names), strict=True)
