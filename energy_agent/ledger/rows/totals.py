"""Running totals of a node: what its counters show, and what the sum of its cells must equal. Pure."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from energy_agent.core.energy import Method, State
from energy_agent.ledger.rows.kinds import INT64_MAX, KINDS, Row, Sum, kind_of

EnergyKey = tuple[str, str, State, Method]  # device, workload, state, method
GpuKey = tuple[str, State]  # workload, state
TokenTotalKey = tuple[str, str, str]  # workload, model, phase
StepTotalKey = tuple[str, str]  # workload, phase

ENDED: Final = ""
"""Stands for the workload in the totals of all workloads that have left the journal.

No entry has such a key: what is active or idle names its workload.
"""
SUMS: Final[Mapping[str, Sum]] = {each.name: each for kind in KINDS.values() for each in kind.sums}
"""Every running total by its name."""
WORKLOAD_PARTS: Final = tuple(each.name for each in SUMS.values() if each.stays is not None)
"""Totals by workload."""


def workload_of(part: str, key: tuple[Any, ...]) -> str:
    """The workload in the key of a total."""
    workload: str = key[SUMS[part].key.index("workload")]
    return workload


def ended_key(part: str, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key of the total that a workload's joins when it leaves."""
    stays = SUMS[part].stays or ()
    return tuple(value if name in stays else ENDED for name, value in zip(SUMS[part].key, key, strict=True))


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything recorded since the journal began. Energy in uJ, device time in ns."""

    energy: Mapping[EnergyKey, int] = field(default_factory=dict)
    gpu_ns: Mapping[GpuKey, int] = field(default_factory=dict)
    tokens: Mapping[TokenTotalKey, int] = field(default_factory=dict)
    gap_bound_uj: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[StepTotalKey, int] = field(default_factory=dict)
    entries: int = 0
    commits: int = 0

    def gap_bound(self, device: str, *, metered: bool) -> int | None:
        """Upper bound in uJ of what no sensor saw of a device; None where nothing bounds it, or no sensor has seen any."""
        bound_uj = self.gap_bound_uj.get(device)
        return bound_uj or (0 if bound_uj is None and metered else None)


@dataclass(slots=True)
class Tally:
    """Sums being made: the name of a running total -> key -> amount."""

    sums: dict[str, dict[Any, int]] = field(default_factory=lambda: {name: {} for name in SUMS})

    @property
    def energy(self) -> dict[EnergyKey, int]:
        """Energy in uJ."""
        return self.sums["energy"]

    def add(self, row: Row) -> None:
        """Add a row."""
        for each in kind_of(row).sums:
            if not each.named or row.workload:
                self._add(each, each.key_of(row), each.amount_of(row))

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        for row in rows:
            self.add(row)

    def add_tally(self, other: "Tally") -> None:
        """Add what another has summed."""
        for name, part in other.sums.items():
            for key, amount in part.items():
                self._add(SUMS[name], key, amount)

    def _add(self, of: Sum, key: Any, amount: int) -> None:
        part = self.sums[of.name]
        total = part.get(key, 0) + amount
        part[key] = min(total, INT64_MAX) if of.stops else total

    def take(self, rows: Iterable[Row]) -> None:
        """Take rows away that were added."""
        for row in rows:
            for each in kind_of(row).sums:
                if not each.named or row.workload:
                    self.sums[each.name][each.key_of(row)] -= each.amount_of(row)

    def without_zeros(self) -> "Tally":
        """A copy without sums of 0."""
        return Tally({name: {key: amount for key, amount in part.items() if amount} for name, part in self.sums.items()})

    def touch(self, totals: "Tally", workloads: Set[str]) -> None:
        """Add 0 to each total of these workloads."""
        for name in WORKLOAD_PARTS:
            part = self.sums[name]
            for key in totals.sums[name]:
                if workload_of(name, key) in workloads:
                    part.setdefault(key, 0)

    def remove(self, workloads: Set[str]) -> "Tally":
        """Move the totals of workloads to those of ENDED; returns the totals that were removed.

        A count that would take the sum past int64 stays: a journal of absurd counts still commits.
        """
        removed = Tally()
        for name in WORKLOAD_PARTS if workloads else ():
            part = self.sums[name]
            for key in [key for key in part if workload_of(name, key) in workloads]:
                target = ended_key(name, key)
                total = part.get(target, 0) + part[key]
                if name == "energy" or total <= INT64_MAX:
                    removed.sums[name][key] = part.pop(key)
                    part[target] = total
        return removed
