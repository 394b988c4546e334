"""Running totals of a node: what its counters show, and what the sum of its cells must equal. Pure."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from energy_agent.core.energy import Method, State
from energy_agent.ledger.rows.kinds import INT64_MAX, Cell, GapRow, Row, StepRow, TokenRow

EnergyKey = tuple[str, str, State, Method]  # device, workload, state, method
GpuKey = tuple[str, State]  # workload, state
TokenTotalKey = tuple[str, str, str]  # workload, model, phase
StepTotalKey = tuple[str, str]  # workload, phase

ENDED: Final = ""
"""Stands for the workload in the totals of all workloads that have left the journal.

No entry has such a key: what is active or idle names its workload.
"""
WORKLOAD_PARTS: Final = ("energy", "gpu_ns", "tokens", "steps")
"""Totals by workload."""


def workload_of(part: str, key: tuple[Any, ...]) -> str:
    """The workload in the key of a total."""
    workload: str = key[1] if part == "energy" else key[0]
    return workload


def ended_key(part: str, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key of the total that a workload's joins when it leaves: one per device, state and method; one of all counts."""
    if part == "energy":
        return (key[0], ENDED, *key[2:])
    return (ENDED, key[1]) if part == "gpu_ns" else (ENDED,) + ("",) * (len(key) - 1)


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything booked since the journal began. Energy in uJ, device time in ns."""

    energy: Mapping[EnergyKey, int] = field(default_factory=dict)
    gpu_ns: Mapping[GpuKey, int] = field(default_factory=dict)
    tokens: Mapping[TokenTotalKey, int] = field(default_factory=dict)
    gap_bound_uj: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[StepTotalKey, int] = field(default_factory=dict)
    entries: int = 0
    commits: int = 0


@dataclass(slots=True)
class Tally:
    """A sum being made."""

    energy: dict[EnergyKey, int] = field(default_factory=dict)
    gpu_ns: dict[GpuKey, int] = field(default_factory=dict)
    tokens: dict[TokenTotalKey, int] = field(default_factory=dict)
    gap_bound_uj: dict[str, int] = field(default_factory=dict)
    steps: dict[StepTotalKey, int] = field(default_factory=dict)

    def add_energy(self, key: EnergyKey, energy_uj: int, gpu_ns: int) -> None:
        """Add a share of energy and the device time held with it."""
        self.energy[key] = self.energy.get(key, 0) + energy_uj
        _, workload, state, _ = key
        if workload:
            held = (workload, state)
            self.gpu_ns[held] = self.gpu_ns.get(held, 0) + gpu_ns

    def add_tokens(self, key: TokenTotalKey, tokens: int) -> None:
        """Add tokens; a count stops at int64."""
        self.tokens[key] = min(self.tokens.get(key, 0) + tokens, INT64_MAX)

    def add_steps(self, key: StepTotalKey, steps: int) -> None:
        """Add steps; a count stops at int64."""
        self.steps[key] = min(self.steps.get(key, 0) + steps, INT64_MAX)

    def add_gap(self, device: str, bound_uj: int) -> None:
        """Add the bound of a gap."""
        self.gap_bound_uj[device] = self.gap_bound_uj.get(device, 0) + bound_uj

    def touch(self, totals: "Tally", workloads: Set[str]) -> None:
        """Add 0 to each total of these workloads."""
        for name in WORKLOAD_PARTS:
            part = getattr(self, name)
            for key in getattr(totals, name):
                if workload_of(name, key) in workloads:
                    part.setdefault(key, 0)

    def remove(self, workloads: Set[str]) -> "Tally":
        """Move the totals of workloads to those of ENDED; returns the totals that were removed.

        A count that would take the sum past int64 stays: a journal of absurd counts still commits.
        """
        removed = Tally()
        for name in WORKLOAD_PARTS if workloads else ():
            part = getattr(self, name)
            for key in [key for key in part if workload_of(name, key) in workloads]:
                target = ended_key(name, key)
                total = part.get(target, 0) + part[key]
                if name == "energy" or total <= INT64_MAX:
                    getattr(removed, name)[key] = part.pop(key)
                    part[target] = total
        return removed

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add the rows of a segment."""
        for row in rows:
            if isinstance(row, Cell):
                self.add_energy((row.device, row.workload, row.state, row.method), row.energy_uj, row.gpu_ns)
            elif isinstance(row, TokenRow):
                self.add_tokens((row.workload, row.model, row.phase), row.tokens)
            elif isinstance(row, StepRow):
                self.add_steps((row.workload, row.phase), row.steps)
            elif isinstance(row, GapRow):
                self.add_gap(row.device, row.bound_uj)
