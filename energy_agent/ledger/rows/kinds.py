"""The rows of the book of record. Pure. Energy is whole uJ, instants are UTC ns; `row_text` has their form in a segment."""

from typing import Final

from energy_agent.core.energy import Action, Method, State, WorkloadFacts
from energy_agent.core.record import record
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.rows.uncertainty import Run

CELL_NS: Final = 900 * NS_PER_S
INT64_MAX: Final = (1 << 63) - 1
PPM: Final = 1_000_000


@record(frozen=True, slots=True)
class Cell:
    """Energy of one (device, workload, state, method) within one aligned 15-minute UTC cell."""

    cell_start_ns: int
    device: str
    workload: str
    state: State
    method: Method
    energy_uj: int
    gpu_ns: int
    run: Run

    @property
    def key(self) -> "CellKey":
        """What is unique within a segment."""
        return (self.cell_start_ns, self.device, self.workload, self.state, self.method)


CellKey = tuple[int, str, str, State, Method]


@record(frozen=True, slots=True)
class Span:
    """How a device (workload "") or one holder of it was metered within a cell: the edges that did not cancel."""

    cell_start_ns: int
    device: str
    workload: str
    run: Run

    @property
    def key(self) -> "SpanKey":
        """What is unique within a segment."""
        return (self.cell_start_ns, self.device, self.workload)


SpanKey = tuple[int, str, str]


@record(frozen=True, slots=True)
class GapRow:
    """Energy within a cell that no sensor saw, by its upper bound; not part of any energy sum."""

    cell_start_ns: int
    device: str
    reason: str
    start_ns: int
    end_ns: int
    bound_uj: int

    @property
    def key(self) -> "GapKey":
        """What is unique within a segment."""
        return (self.cell_start_ns, self.device, self.reason)


GapKey = tuple[int, str, str]


@record(frozen=True, slots=True)
class TokenRow:
    """Tokens of one (workload, model, phase) within a cell."""

    cell_start_ns: int
    workload: str
    model: str
    phase: str
    start_ns: int
    end_ns: int
    tokens: int

    @property
    def key(self) -> "TokenKey":
        """What is unique within a segment."""
        return (self.cell_start_ns, self.workload, self.model, self.phase)


TokenKey = tuple[int, str, str, str]


@record(frozen=True, slots=True)
class StepRow:
    """Steps of one (workload, phase) within a cell."""

    cell_start_ns: int
    workload: str
    phase: str
    start_ns: int
    end_ns: int
    steps: int

    @property
    def key(self) -> "StepKey":
        """What is unique within a segment."""
        return (self.cell_start_ns, self.workload, self.phase)


StepKey = tuple[int, str, str]


@record(frozen=True, slots=True)
class DeviceFacts:
    """What an auditor must know of a device, effective from `since_ns`.

    `gain_uncertainty_ratio` bounds the systematic error of its sensor (0.05: 5 %).
    """

    uuid: str
    sku: str
    gain_uncertainty_ratio: float
    since_ns: int

    @property
    def gain_ppm(self) -> int:
        """The ratio as whole parts per million: what is stored."""
        return round(self.gain_uncertainty_ratio * PPM)


Row = Cell | Span | GapRow | TokenRow | StepRow | Action | WorkloadFacts | DeviceFacts


@record(frozen=True, slots=True)
class Located:
    """A row and whose it is. `sequence` is that of its segment, None while it is not sealed."""

    cluster: str
    node: str
    simulated: bool
    sequence: int | None
    row: Row
