"""Sums of the ledger over a period, in whole uJ, ns and tokens. Pure types; `store` fills them.

A *part* of the fleet is everything of one site that shares team, project, model, precision, kind and price class. Whatever is
grouped by one of these is a sum of parts, and every joule of a GPU is in one part, in what nobody held, or in what could not be
attributed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from energy_agent.core.boundary import CounterScope
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.site.building.spans import Span

NOBODY = 0
"""Number of the part that holds what no workload held."""

SHORT_HOST: Final = "metered for less time than the GPUs of its node"
"""Why nothing bounds what a host drew, where no gap in the ledger says so."""


@dataclass(frozen=True, slots=True)
class PartLabels:
    """Labels of one part of the fleet; "" means unassigned. `model` is the model that generated tokens, or the label."""

    team: str = ""
    project: str = ""
    model: str = ""
    precision: str = ""
    kind: str = ""
    price_class: str = ""
    mixed: bool = False  # it served several models, and its energy is not split between them
    trains: bool = False  # it did training steps, or is of a job or group that did


@dataclass(frozen=True, slots=True)
class PartEnergy:
    """Energy that workloads of one part held, on devices of one class (gpu | host | part), with its three kinds of error.

    `unbounded` counts devices whose sensor error no ledger states: then there is no interval. `open` counts devices that may
    have drawn what nothing bounds at some time of the period, held or not: then there is no upper bound.
    """

    site: str
    part: int
    device_class: str
    active_uj: int
    idle_uj: int
    active_edge_uj: int
    idle_edge_uj: int
    active_gain_uj: int
    idle_gain_uj: int
    held_gain_uj: int
    held_edge_uj: int
    gap_uj: int
    gpu_ns: int
    devices: int
    unbounded: int
    open: int

    @property
    def held_uj(self) -> int:
        """Active and idle."""
        return self.active_uj + self.idle_uj


@dataclass(frozen=True, slots=True)
class DeviceClassEnergy:
    """Whole devices of one site, class and GPU model; inner edges cancel. `unbounded` and `open` are as in `PartEnergy`."""

    site: str
    device_class: str
    sku: str
    energy_uj: int
    edge_uj: int
    gap_uj: int
    gap_ns: int
    metered_ns: int
    devices: int
    nodes: int
    unbounded: int
    gain_uj: int
    open: int


@dataclass(frozen=True, slots=True)
class StateEnergy:
    """Energy of one site in one state of the ledger, by one method."""

    site: str
    device_class: str
    state: str
    method: str
    energy_uj: int
    edge_uj: int
    gain_uj: int
    unbounded: int


@dataclass(frozen=True, slots=True)
class UnmeasuredTime:
    """Time that no sensor measured, for one reason, with the bound of its energy."""

    site: str
    device_class: str
    reason: str
    bound_uj: int
    gap_ns: int
    devices: int


@dataclass(frozen=True, slots=True)
class TokenTotal:
    """Tokens of one part, model and phase."""

    site: str
    part: int
    model: str
    phase: str
    tokens: int


@dataclass(frozen=True, slots=True)
class StepTotal:
    """Training steps of one part and phase."""

    site: str
    part: int
    phase: str
    steps: int


@dataclass(frozen=True, slots=True)
class ActionCount:
    """DVFS actions of one site."""

    site: str
    policy: str
    action: str
    outcome: str
    actions: int


@dataclass(frozen=True, slots=True)
class SavingEstimate:
    """An estimate of saved energy, signed, with its interval."""

    value_uj: int
    low_uj: int
    high_uj: int


@dataclass(frozen=True, slots=True)
class Slowdown:
    """How much longer work took, signed, with its interval. `of`: latency or time_per_work."""

    ppm: int
    low_ppm: int
    high_ppm: int
    of: str


@dataclass(frozen=True, slots=True)
class GroupSaving:
    """Savings of the groups of one name at one site. Without `saved`, `reason` explains why the saving is unknown.

    `claimed_uj` is the sum of the adjustments of claims, negative if a claim fell; `lost_uj` is the same for losses.
    """

    site: str
    group: str
    saved: SavingEstimate | None = None
    claimed_uj: int = 0
    lost_uj: int = 0
    slowdown: Slowdown | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Savings:
    """Savings from steering in a period, from `pairs` of blocks. `days` has the (site, midnight) of all rows."""

    groups: tuple[GroupSaving, ...] = ()
    pairs: int = 0
    excluded: tuple[tuple[str, int], ...] = ()  # pairs that are not used, by why
    days: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkloadUse:
    """One workload by its printed name, with the energy of its GPUs."""

    site: str
    part: int
    name: str
    active_uj: int
    idle_uj: int
    gpu_ns: int


@dataclass(frozen=True, slots=True)
class DayEnergy:
    """One site's UTC day, as far as it lies in the period. Energy by what the GPUs were doing, and of whole hosts."""

    site: str
    day_ns: int
    active_uj: int
    idle_uj: int
    other_uj: int
    host_uj: int
    metered_ns: int
    devices: int


@dataclass(frozen=True, slots=True)
class PartCost:
    """Energy of a part (GPUs, plus hosts where all nodes of the site are known) times the value of each of its cells, exactly.

    `grams` is in uJ x g/kWh, `money` in uJ x money/kWh; energy without a factor or price is reported separately.
    """

    site: str
    part: int
    gpu_uj: int
    host_uj: int
    grams: Fraction
    money: Fraction
    ungrammed_uj: int
    unpriced_uj: int


@dataclass(frozen=True, slots=True)
class CellRates:
    """What a kWh is worth in each cell of a site, as whole numbers over one denominator; what is not there is not known."""

    grams: Mapping[int, int]
    grams_over: int
    money: Mapping[int, int]
    money_over: int


@dataclass(frozen=True, slots=True)
class MeteredDevice:
    """How long a GPU was metered, between `first_ns` and `last_ns`, UTC ns."""

    site: str
    cluster: str
    node: str
    device: str
    metered_ns: int
    gap_ns: int
    first_ns: int = 0
    last_ns: int = INT64_MAX
    sku: str = ""
    counter_scope: str = CounterScope.UNKNOWN


@dataclass(frozen=True, slots=True)
class MeteredNode:
    """How long the GPUs of a node were metered in total, its host, and the host's processors and memory.

    `longest_gpu_ns` is the time of the GPU that was metered the longest. A mean would halve a GPU that was replaced.
    """

    site: str
    cluster: str
    node: str
    gpus: int
    gpu_ns: int
    host_ns: int
    cpu_ns: int = 0
    ram_ns: int = 0
    longest_gpu_ns: int = 0

    @property
    def whole(self) -> bool:
        """Its energy is known as a whole: its host was metered for nine tenths of the time of its GPUs, and more.

        What a host that was metered for less than all of it drew is bounded by its gaps alone (`SHORT_HOST`).
        """
        return self.host_ns > 0 and 10 * self.host_ns * max(1, self.gpus) >= 9 * self.gpu_ns


@dataclass(frozen=True, slots=True)
class NodeShare:
    """GPU time of a node that workloads of one part held."""

    site: str
    cluster: str
    node: str
    part: int
    gpu_ns: int


@dataclass(frozen=True, slots=True)
class SiteWindow:
    """A site's own period: [start_ns, end_ns) UTC ns, from local midnight to local midnight for a quarter.

    `open`: no day of the ledger reaches its end, so that the period may not be over; then it ends with the last reading.
    `first`: the ledger has no day of the site before the named period, which then begins with the site's first reading.
    `by_invoices`: the site has invoices and nothing in the ledger; its period is as far as they reach.
    """

    start_ns: int
    end_ns: int
    open: bool = False
    first: bool = False
    by_invoices: bool = False

    @property
    def span(self) -> Span:
        """Its start and end."""
        return self.start_ns, self.end_ns

    @property
    def length_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class LedgerSums:
    """Everything that a report reads from the ledger. `cells` has (GPU uJ, host uJ) by site and cell."""

    windows: Mapping[str, SiteWindow]
    simulated: bool
    parts: Mapping[int, PartLabels]
    part_rows: tuple[PartEnergy, ...] = ()
    wholes: tuple[DeviceClassEnergy, ...] = ()
    states: tuple[StateEnergy, ...] = ()
    unseen: tuple[UnmeasuredTime, ...] = ()
    tokens: tuple[TokenTotal, ...] = ()
    steps: tuple[StepTotal, ...] = ()
    actions: tuple[ActionCount, ...] = ()
    days: tuple[DayEnergy, ...] = ()
    largest: tuple[WorkloadUse, ...] = ()
    idlest: tuple[WorkloadUse, ...] = ()
    metered_devices: tuple[MeteredDevice, ...] = ()
    meter_nodes: frozenset[tuple[str, str, str]] = frozenset()  # (site, cluster, node) that recorded meters of a building
    nodes: tuple[MeteredNode, ...] = ()
    node_shares: tuple[NodeShare, ...] = ()  # read only where the inputs describe hosts
    cells: Mapping[str, Mapping[int, tuple[int, int]]] = field(default_factory=dict)
    imported: Mapping[str, int] = field(default_factory=dict)  # uJ of GPUs by site, from a Prometheus
    boards: tuple[tuple[str, int, str, int], ...] = ()  # (site, part, board, device time held)
    savings: Savings = Savings()

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites."""
        return tuple(sorted(self.windows))

    @property
    def site_processes(self) -> frozenset[tuple[str, str, str]]:
        """(site, cluster, node) of those that recorded meters of a building and no device of their own."""
        with_devices = {(n.site, n.cluster, n.node) for n in self.nodes} | {
            (d.site, d.cluster, d.node) for d in self.metered_devices
        }
        return self.meter_nodes - with_devices

    def node_gap(self, site: str) -> str:
        """Why the energy of a site's nodes is not known as a whole; "": it is."""
        nodes = [node for node in self.nodes if node.site == site]
        whole = sum(node.whole for node in nodes)
        if not whole:
            return f"no node of {site} has a whole-node meter"
        return f"{whole} of {len(nodes)} nodes of {site} have a whole-node meter" if whole < len(nodes) else ""
