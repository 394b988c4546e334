"""Rows of a period as `wattlens usage` and `wattlens job` read them from any source.

`ledger_rows`, `compacted_days` and `prometheus` each fill a record. That of a job has the rows of its workloads and of whole
devices alone. `sums` and `wattlens/job/sums.py` add a record up. A new kind of row is one more entry of ROWS.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import REQUEST
from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS

Columns = Mapping[str, Sequence[Any]]
Owner = tuple[str, str, str]
"""Cluster, node and workload."""
Place = tuple[str, str, str]
"""Cluster, node and device."""
RUN: Final = ("start_ns", "end_ns", "edge_first_uj", "edge_inner_uj", "edge_last_uj")


@dataclass(slots=True)
class EnergyRecord:
    """Rows of a source within [start_ns, end_ns).

    Args:
        source: where they come from, for people.
        days: UTC day and day sums of nodes (energy_agent/ledger/fleet/day_sums.py); device "" is all GPUs of a workload.
        labels: since when, in which segment, kind and labels of each workload.
        gain_ppm: bound of the gain error by device.
        tokens: by workload, UTC day, phase and model.
        steps: by phase: workload, start, end and steps that it counted.
        phases: GPU energy in uJ and GPU time in ns of phases other than training.
        open: devices with a gap whose energy nothing bounds.
        first_ns, last_ns: between which times the source has anything, of this period or not; None: unknown.
    """

    source: str
    start_ns: int
    end_ns: int
    days: list[tuple[int, Mapping[str, Columns]]] = field(default_factory=list)
    labels: dict[Owner, list[tuple[int, int, str, dict[str, str]]]] = field(default_factory=dict)
    gain_ppm: dict[str, int] = field(default_factory=dict)
    tokens: dict[tuple[Owner, int, str, str], int] = field(default_factory=dict)
    steps: dict[str, list[tuple[Owner, int, int, int]]] = field(default_factory=dict)
    phases: dict[str, tuple[int, int]] = field(default_factory=dict)
    open: set[Place] = field(default_factory=set)
    simulated: bool = False
    first_ns: int | None = None
    last_ns: int | None = None

    def cover(self, first_ns: int, last_ns: int) -> None:
        """Note that the source has something between two times, of this period or not."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)

    def add_labels(self, owner: Owner, since_ns: int, sequence: int, kind: str, labels: dict[str, str]) -> None:
        """Add labels of a workload; of the same ones again only the first count."""
        known = self.labels.setdefault(owner, [])
        if not known or (known[-1][0], *known[-1][2:]) != (since_ns, kind, labels):
            known.append((since_ns, sequence, kind, labels))

    def add_rows(self, kind: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows of a kind: cluster, node and the columns in ROWS; those of another time than the record's are left out."""
        names, add = ROWS[kind]
        for cluster, node, name, *values in rows:
            if "cell_start_ns" not in names or self.start_ns <= values[0] < self.end_ns:
                add(self, (cluster, node, name), *values)

    def add_device(self, place: Place, gain_ppm: int) -> None:
        """Add the bound of a device's gain error."""
        self.gain_ppm[place[2]] = max(gain_ppm, self.gain_ppm.get(place[2], 0))

    def add_gap(self, place: Place, _: int, reason: str) -> None:
        """Add a gap; only one without a bound counts here, because day sums have the others."""
        if reason.startswith(UNBOUNDED):
            self.open.add(place)

    def add_tokens(self, owner: Owner, t_ns: int, phase: str, model: str, tokens: int) -> None:
        """Add tokens, but not requests, which the ledger keeps in the same rows."""
        if phase != REQUEST:
            key = owner, day_of(t_ns), phase, model
            self.tokens[key] = self.tokens.get(key, 0) + tokens

    def add_steps(self, owner: Owner, _: int, phase: str, start_ns: int, end_ns: int, steps: int) -> None:
        """Add steps that a workload counted."""
        self.steps.setdefault(phase, []).append((owner, start_ns, end_ns, steps))

    def add_phase(self, _owner: Owner, _: int, phase: str, energy_uj: int, gpu_ns: int) -> None:
        """Add GPU energy and GPU time in which a workload did something else than training steps."""
        energy, time = self.phases.get(phase, (0, 0))
        self.phases[phase] = energy + energy_uj, time + gpu_ns

    def add_day(self, day_ns: int, kind: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add day sums of a kind as rows."""
        columns = list(zip(*rows, strict=True))
        if columns:
            self.days.append((day_ns, {kind: dict(zip(DAY_COLUMNS[kind], columns, strict=True))}))

    def rows(self, kind: str, *names: str) -> Iterator[tuple[Any, ...]]:
        """Day sums of a kind in the order of their days: each its day, then these columns."""
        for day_ns, tables in sorted(self.days, key=lambda each: each[0]):
            for row in column_rows(tables, kind, *names):
                yield day_ns, *row


ROWS: Final[Mapping[str, tuple[tuple[str, ...], Callable[..., None]]]] = {
    "device": (("device", "gain_ppm"), EnergyRecord.add_device),
    "gap": (("device", "cell_start_ns", "reason"), EnergyRecord.add_gap),
    "tokens": (("workload", "cell_start_ns", "phase", "model", "tokens"), EnergyRecord.add_tokens),
    "steps": (("workload", "cell_start_ns", "phase", "start_ns", "end_ns", "steps"), EnergyRecord.add_steps),
    "phase": (("workload", "cell_start_ns", "phase", "energy_uj", "gpu_ns"), EnergyRecord.add_phase),
}
"""Kinds of rows besides day sums and labels: the columns that are read, and what adds them."""


def column_rows(kinds: Mapping[str, Columns], kind: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a kind as tuples of these columns; none where the kind is absent."""
    return zip(*(kinds[kind][name] for name in names), strict=True) if kind in kinds else iter(())


def day_of(t_ns: int) -> int:
    """The UTC day of a time."""
    return t_ns - t_ns % NS_PER_DAY


def decode_labels(text: str) -> dict[str, str]:
    """The labels of a row of the ledger."""
    labels: dict[str, str] = json.loads(text)
    return labels
