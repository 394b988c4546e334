"""The result of `wattlens usage`: rows that sum to their total exactly. Pure.

Laws, checked when a statement is made:

- The energy of the rows sums to the total in whole uJ, and so does each of its four parts (active, idle, unallocated,
  unattributed). A joule is in one row.
- The total does not depend on what the rows are grouped by.

Bounds follow the report (reports/figures/energy.py): errors of sensors and edges add up linearly. The bounds of the total are
narrower than the sum of those of the rows, because errors at the edges between two owners of a GPU cancel in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from energy_agent.core.energy import State
from energy_agent.core.quantity import Quantity, exactly, no_quantity
from reports.figures.energy import BoundedEnergy


class GroupBy(StrEnum):
    """What a row is."""

    WORKLOAD = "workload"
    OWNER = "owner"
    NAMESPACE = "namespace"
    USER = "user"
    TEAM = "team"
    MODEL = "model"
    GPU = "gpu"
    NODE = "node"


DEVICE_GROUPS: Final = (GroupBy.GPU, GroupBy.NODE)
"""Rows of devices: their unallocated and unattributed energy is part of the row."""
WHOLE_PERIOD: Final = (GroupBy.WORKLOAD, GroupBy.OWNER)
"""Rows whose key a workload keeps over the whole period; other labels may change from day to day."""


class RowKind(StrEnum):
    """What the name of a row means."""

    GROUP = "group"  # one workload, owner, namespace, user, team, model, GPU or node
    NODE = "node"  # by GPU: energy of the GPU's node without its GPUs
    SEVERAL = "several_models"  # by model: workloads that served several, whose energy is not divided
    UNLABELLED = "unlabelled"  # workloads without the label that the rows are grouped by
    UNALLOCATED = "unallocated"  # GPUs that were allocated to no workload
    UNATTRIBUTED = "unattributed"  # the owner of the GPU was not known
    OTHERS = "others"  # rows that a table leaves out
    TOTAL = "total"


class RowKey(NamedTuple):
    """Which row."""

    kind: RowKind
    name: str


NO_PRICE: Final = "no price given (--price, --org)"
NO_CARBON: Final = "no grid carbon intensity given (--carbon, --org)"
NO_TOKENS: Final = "none recorded"
TOKENS_OF_WORKLOADS: Final = "recorded per workload, not per GPU or node"

UNALLOCATED: Final = RowKey(RowKind.UNALLOCATED, "unallocated")
UNATTRIBUTED: Final = RowKey(RowKind.UNATTRIBUTED, "unattributed")
SEVERAL: Final = RowKey(RowKind.SEVERAL, "several models")
TOTAL: Final = RowKey(RowKind.TOTAL, "total")
_LAST: Final = (RowKind.SEVERAL, RowKind.OTHERS, RowKind.UNLABELLED, RowKind.UNALLOCATED, RowKind.UNATTRIBUTED, RowKind.TOTAL)


def unlabelled(by: GroupBy) -> RowKey:
    """The row of workloads without the label of `by`."""
    return RowKey(RowKind.UNLABELLED, f"no {by.value}")


@dataclass(slots=True)
class Parts:
    """Energy in uJ by what the device was doing; the four parts are disjoint."""

    active_uj: int = 0
    idle_uj: int = 0
    unallocated_uj: int = 0
    unattributed_uj: int = 0

    def add(self, state: str, energy_uj: int) -> None:
        """Add energy of a state of the ledger."""
        if state == State.ACTIVE:
            self.active_uj += energy_uj
        elif state == State.IDLE:
            self.idle_uj += energy_uj
        elif state == State.UNALLOCATED:
            self.unallocated_uj += energy_uj
        else:
            self.unattributed_uj += energy_uj

    @property
    def values(self) -> tuple[int, int, int, int]:
        """All four."""
        return self.active_uj, self.idle_uj, self.unallocated_uj, self.unattributed_uj


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line.

    Args:
        tokens: by phase (generation, prompt, cached, training); empty where none were recorded.
        no_tokens: why `tokens` is empty.
        cost: in the statement's currency.
        carbon: grams of CO2e.
    """

    key: RowKey
    energy: BoundedEnergy
    parts: Parts
    tokens: Mapping[str, int] = field(default_factory=dict)
    no_tokens: str = NO_TOKENS
    cost: Quantity = field(default_factory=lambda: no_quantity(NO_PRICE))
    carbon: Quantity = field(default_factory=lambda: no_quantity(NO_CARBON))


@dataclass(frozen=True, slots=True)
class UsageScope:
    """What a statement is of.

    Args:
        source: where the energy comes from, for people.
        start_ns, end_ns: the requested period.
        first_ns, last_ns: the first and the last reading within it.
        gpus: how many GPUs were read.
        nodes: of how many nodes.
        metered_ns: for how long, summed over GPUs.
        whole_nodes: the energy includes nodes as a whole, not only their GPUs.
        gpus_only: why it does not; "" where it does.
    """

    source: str
    start_ns: int
    end_ns: int
    first_ns: int
    last_ns: int
    gpus: int
    nodes: int
    metered_ns: int
    whole_nodes: bool
    gpus_only: str
    simulated: bool

    @property
    def coverage(self) -> Fraction | None:
        """Share of the GPUs' time in the period that was metered; None without GPUs."""
        device_ns = self.gpus * (self.end_ns - self.start_ns)
        return min(Fraction(1), Fraction(self.metered_ns, device_ns)) if device_ns else None


@dataclass(frozen=True, slots=True)
class Usage:
    """A statement. `currency` is "" without a price; `basis` describes the price and the carbon intensity, by name."""

    by: GroupBy
    scope: UsageScope
    rows: tuple[UsageRow, ...]
    total: UsageRow
    currency: str = ""
    basis: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every joule is in one row.

        Raises:
            ValueError: the rows do not sum to the total: a fault of Wattlens.
        """
        of_rows = sum(row.energy.energy_uj for row in self.rows)
        parts = tuple(map(sum, zip(*(row.parts.values for row in (*self.rows, _EMPTY)), strict=True)))
        if of_rows != self.total.energy.energy_uj or parts != self.total.parts.values or sum(parts) != of_rows:
            raise ValueError(f"rows of usage by {self.by} sum to {of_rows} uJ, not to {self.total.energy.energy_uj} uJ")


_EMPTY: Final = UsageRow(TOTAL, BoundedEnergy(), Parts())


def in_order(rows: Iterable[UsageRow]) -> tuple[UsageRow, ...]:
    """The largest first; what belongs to no group last."""
    place = {kind: number for number, kind in enumerate(_LAST, 1)}
    return tuple(sorted(rows, key=lambda row: (place.get(row.key.kind, 0), -row.energy.energy_uj, row.key.name)))


def joined(key: RowKey, rows: Iterable[UsageRow]) -> UsageRow:
    """Several rows as one; their errors add up, and what one of them lacks is lacking."""
    energy, parts, tokens = BoundedEnergy(), Parts(), dict[str, int]()
    cost, carbon, reason = (
        exactly(0),
        exactly(0),
        NO_TOKENS,
    )
    for row in rows:
        energy += row.energy
        parts = Parts(*map(sum, zip(parts.values, row.parts.values, strict=True)))
        cost, carbon = cost + row.cost, carbon + row.carbon
        reason = row.no_tokens
        for phase, count in row.tokens.items():
            tokens[phase] = tokens.get(phase, 0) + count
    return UsageRow(key, energy, parts, tokens, reason, cost, carbon)
