"""The types of ledger rows, in one table. Pure. Energy is in whole uJ, instants are UTC ns.

A type is one entry of `KINDS`: its data class, the form of each field in a segment, how two rows of one key are merged, and
which of its values are summed. Journal, segments, verification, compaction and import follow from that entry.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import add, attrgetter
from typing import Any, Final

from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import Action, Method, State, WorkloadFacts
from energy_agent.core.proof import Analysis, PairedBlocks
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, EdgeRun, follow

CELL_NS: Final = 900 * NS_PER_S
INT64_MAX: Final = (1 << 63) - 1
PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Cell:
    """Energy of one (device, workload, state, method) within one aligned 15-minute UTC cell."""

    cell_start_ns: int
    device: str
    workload: str
    state: State
    method: Method
    energy_uj: int
    gpu_ns: int
    run: EdgeRun


@dataclass(frozen=True, slots=True)
class DeviceTimeRow:
    """Device time of one (device, workload, state) within a cell in which the device had no sensor of its energy."""

    cell_start_ns: int
    device: str
    workload: str
    state: State
    start_ns: int
    end_ns: int
    gpu_ns: int


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """How a device (workload "") or one owner of it was metered within a cell: the edges that did not cancel."""

    cell_start_ns: int
    device: str
    workload: str
    run: EdgeRun


@dataclass(frozen=True, slots=True)
class GapRow:
    """Energy within a cell that no sensor saw, by its upper bound; not part of any energy sum."""

    cell_start_ns: int
    device: str
    reason: str
    start_ns: int
    end_ns: int
    bound_uj: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Tokens of one (workload, model, phase) within a cell."""

    cell_start_ns: int
    workload: str
    model: str
    phase: str
    start_ns: int
    end_ns: int
    tokens: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """Steps of one (workload, phase) within a cell."""

    cell_start_ns: int
    workload: str
    phase: str
    start_ns: int
    end_ns: int
    steps: int


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """What the GPUs of a training workload used within a cell in a phase other than training; part of its cells."""

    cell_start_ns: int
    workload: str
    phase: str
    start_ns: int
    end_ns: int
    energy_uj: int
    gpu_ns: int


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What an auditor must know of a device, effective from `since_ns`.

    `gain_uncertainty_ratio` bounds the systematic error of its sensor (0.05: 5 %). `counter_scope` is what a GPU's
    energy counter includes, one of `CounterScope`; any other text is unknown.
    """

    uuid: str
    sku: str
    gain_uncertainty_ratio: float
    since_ns: int
    counter_scope: str = CounterScope.UNKNOWN

    @property
    def gain_ppm(self) -> int:
        """The ratio as whole parts per million: what is stored."""
        return round(self.gain_uncertainty_ratio * PPM)


class Form(StrEnum):
    """What the value of a field may be."""

    TEXT = "text"  # short, without lone surrogates
    COUNT = "count"  # an integer from 0 to int64
    SIGNED = "signed"  # an integer within int64, which may be below 0
    CELL = "cell"  # a count that is a multiple of a quarter of an hour
    RATIO = "ratio"  # a count of parts per million that a float holds
    STATE = "state"
    METHOD = "method"
    LABELS = "labels"  # a small object of texts


@dataclass(frozen=True, slots=True)
class Sum:
    """A running total of a kind's rows, by the attributes `key`.

    Args:
        amount: the attribute that is summed.
        key: attributes; one alone is the key itself, several are a tuple.
        stays: what is left of the key when the workload in it ends; None where no workload is in it.
        named: a row that names no workload does not count.
        stops: the sum stops at int64, as what a program reports of itself is no reason to refuse energy.
    """

    name: str
    amount: str
    key: tuple[str, ...]
    stays: tuple[str, ...] | None = None
    named: bool = False
    stops: bool = False
    key_of: Callable[[Any], Any] = field(init=False, repr=False)
    amount_of: Callable[[Any], int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the accessors once."""
        object.__setattr__(self, "key_of", attrgetter(*self.key))
        object.__setattr__(self, "amount_of", attrgetter(self.amount))


def _later(_: Any, b: Any) -> Any:
    return b


def _add_up_to_int64(a: int, b: int) -> int:
    return min(a + b, INT64_MAX)


def _values(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    """A row's values as a tuple, of one attribute too."""
    getter: Callable[[Any], Any] = attrgetter(*names)
    return getter if len(names) > 1 else lambda row: (getter(row),)


@dataclass(frozen=True, slots=True, eq=False)
class RowType:
    """A kind of row.

    Args:
        name: its `kind` in a segment.
        row: the data class.
        forms: the fields in a segment.
        merge: how the attribute of two rows of one key becomes one; attributes that are not named are the key.
        paths: of fields that are not an attribute of the same name, where their value is.
        make: the row of a segment's fields.
        interval: attributes of start and end.
        sums: running totals.
        bounds: attributes that must fit int64, in addition to the numbers among the fields.
        is_fact: the row describes its subject from an instant on, and is part of every segment that names the subject.
    """

    name: str
    row: type[Any]
    forms: Mapping[str, Form]
    interval: tuple[str, str]
    merge: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    make: Callable[..., Any] | None = None
    sums: tuple[Sum, ...] = ()
    bounds: tuple[str, ...] = ()
    is_fact: bool = False
    stored: Callable[[Any], tuple[Any, ...]] = field(init=False)
    key: Callable[[Any], tuple[Any, ...]] = field(init=False)
    counts: Callable[[Any], tuple[int, ...]] = field(init=False)
    numbers: Callable[[Any], tuple[int, ...]] = field(init=False)
    start_ns: Callable[[Any], int] = field(init=False)
    end_ns: Callable[[Any], int] = field(init=False)
    _all: Callable[[Any], tuple[Any, ...]] = field(init=False)
    _merges: tuple[tuple[int, Callable[[Any, Any], Any]], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the accessors once."""
        names = [f.name for f in fields(self.row)]
        where = {name: self.paths.get(name, name) for name in self.forms}
        counts = [where[name] for name, form in self.forms.items() if form in COUNTS]
        signed = [where[name] for name, form in self.forms.items() if form is Form.SIGNED]
        accessors = {
            "stored": _values(*where.values()),
            "key": _values(*(name for name in names if name not in self.merge)),
            "counts": _values(*counts, *self.bounds),
            "numbers": _values(*counts, *signed, *self.bounds),
            "start_ns": attrgetter(self.interval[0]),
            "end_ns": attrgetter(self.interval[1]),
            "_all": _values(*names),
            "_merges": tuple((at, self.merge[name]) for at, name in enumerate(names) if name in self.merge),
        }
        for name, value in accessors.items():
            object.__setattr__(self, name, value)

    def merged(self, one: Any, other: Any) -> Any:
        """The row that two of one key are together, `other` being the later one."""
        values, more = list(self._all(one)), self._all(other)
        for at, merge in self._merges:
            values[at] = merge(values[at], more[at])
        return self.row(*values)


COUNTS: Final = frozenset({Form.COUNT, Form.CELL, Form.RATIO})
_INTERVAL: Final = {"start_ns": Form.COUNT, "end_ns": Form.COUNT}
_RUN: Final = _INTERVAL | dict.fromkeys(("edge_first_uj", "edge_inner_uj", "edge_last_uj"), Form.COUNT)
_RUN_PATHS: Final = {
    "start_ns": "run.start_ns",
    "end_ns": "run.end_ns",
    "edge_first_uj": "run.first_uj",
    "edge_inner_uj": "run.inner_uj",
    "edge_last_uj": "run.last_uj",
}
_RUN_INTERVAL: Final = ("run.start_ns", "run.end_ns")
_OWN_INTERVAL: Final = ("start_ns", "end_ns")
_LONGEST: Final[Mapping[str, Callable[[Any, Any], Any]]] = {"start_ns": min, "end_ns": max}


def _run(last_ppm: int, *, start_ns: int, end_ns: int, edge_first_uj: int, edge_inner_uj: int, edge_last_uj: int) -> EdgeRun:
    return EdgeRun(start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj, last_ppm)


def _cell(*, cell_start_ns: int, device: str, workload: str, state: State, method: Method, **rest: int) -> Cell:
    energy_uj, gpu_ns = rest.pop("energy_uj"), rest.pop("gpu_ns")
    return Cell(cell_start_ns, device, workload, state, method, energy_uj, gpu_ns, _run(SHARE_UNKNOWN, **rest))


def _span(*, cell_start_ns: int, device: str, workload: str, **run: int) -> EdgeRow:
    return EdgeRow(cell_start_ns, device, workload, _run(SHARE_UNKNOWN if workload else PPM, **run))


def _workload(*, workload: str, since_ns: int, workload_kind: str, labels: dict[str, str]) -> WorkloadFacts:
    return WorkloadFacts(workload, since_ns, workload_kind, labels)


def _device(*, device: str, since_ns: int, sku: str, gain_ppm: int, counter_scope: str) -> DeviceFacts:
    return DeviceFacts(device, sku, gain_ppm / PPM, since_ns, counter_scope)


_BLOCK: Final = ("uj", "work", "ns", "itl_us", "itl_count")
_GPU_TIME: Final = Sum("gpu_ns", "gpu_ns", ("workload", "state"), stays=("state",), named=True)
_ENTRIES: Final = (
    RowType(
        "cell",
        Cell,
        {"cell_start_ns": Form.CELL, "device": Form.TEXT, "workload": Form.TEXT, "state": Form.STATE, "method": Form.METHOD}
        | {"energy_uj": Form.COUNT, "gpu_ns": Form.COUNT}
        | _RUN,
        _RUN_INTERVAL,
        merge={"energy_uj": add, "gpu_ns": add, "run": follow},
        paths=_RUN_PATHS,
        make=_cell,
        sums=(
            Sum("energy", "energy_uj", ("device", "workload", "state", "method"), stays=("device", "state", "method")),
            _GPU_TIME,
        ),
        bounds=("run.bound_uj",),
    ),
    RowType(
        "time",
        DeviceTimeRow,
        {"cell_start_ns": Form.CELL, "device": Form.TEXT, "workload": Form.TEXT, "state": Form.STATE}
        | _INTERVAL
        | {"gpu_ns": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "gpu_ns": add},
        sums=(_GPU_TIME,),
    ),
    RowType(
        "span",
        EdgeRow,
        {"cell_start_ns": Form.CELL, "device": Form.TEXT, "workload": Form.TEXT} | _RUN,
        _RUN_INTERVAL,
        merge={"run": follow},
        paths=_RUN_PATHS,
        make=_span,
        bounds=("run.bound_uj",),
    ),
    RowType(
        "gap",
        GapRow,
        {"cell_start_ns": Form.CELL, "device": Form.TEXT, "reason": Form.TEXT} | _INTERVAL | {"bound_uj": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "bound_uj": add},
        sums=(Sum("gap_bound_uj", "bound_uj", ("device",)),),
    ),
    RowType(
        "tokens",
        TokenRow,
        {"cell_start_ns": Form.CELL, "workload": Form.TEXT, "model": Form.TEXT, "phase": Form.TEXT}
        | _INTERVAL
        | {"tokens": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "tokens": _add_up_to_int64},
        sums=(Sum("tokens", "tokens", ("workload", "model", "phase"), stays=(), stops=True),),
    ),
    RowType(
        "steps",
        StepRow,
        {"cell_start_ns": Form.CELL, "workload": Form.TEXT, "phase": Form.TEXT} | _INTERVAL | {"steps": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "steps": _add_up_to_int64},
        sums=(Sum("steps", "steps", ("workload", "phase"), stays=(), stops=True),),
    ),
    RowType(
        "phase",
        PhaseRow,
        {"cell_start_ns": Form.CELL, "workload": Form.TEXT, "phase": Form.TEXT}
        | _INTERVAL
        | {"energy_uj": Form.COUNT, "gpu_ns": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "energy_uj": add, "gpu_ns": add},
    ),
    RowType(
        "action",
        Action,
        {"t_ns": Form.COUNT} | dict.fromkeys(("device", "workload", "policy", "action", "setting", "outcome"), Form.TEXT),
        ("t_ns", "t_ns"),
    ),
    RowType(
        "pair",
        PairedBlocks,
        {"t_ns": Form.COUNT}
        | dict.fromkeys(("group", "workload", "policy"), Form.TEXT)
        | dict.fromkeys(("since_ns", "number", "enforced_uj"), Form.COUNT)
        | {f"{block}_{name}": Form.COUNT for block in ("treatment", "control") for name in _BLOCK}
        | dict.fromkeys(("arrivals", "excluded"), Form.TEXT),
        ("t_ns", "t_ns"),
    ),
    RowType(
        "analysis",
        Analysis,
        {"t_ns": Form.COUNT}
        | dict.fromkeys(("group", "workload", "policy"), Form.TEXT)
        | dict.fromkeys(("since_ns", "number", "pairs", "excluded", "chance_ppb", "covered_uj"), Form.COUNT)
        | dict.fromkeys(("saved_uj", "low_uj", "high_uj", "claimed_uj", "lost_uj"), Form.SIGNED)
        | dict.fromkeys(("slowdown_ppm", "slowdown_low_ppm", "slowdown_high_ppm"), Form.SIGNED)
        | dict.fromkeys(("slowdown_of", "reason"), Form.TEXT),
        ("t_ns", "t_ns"),
    ),
    RowType(
        "workload",
        WorkloadFacts,
        {"workload": Form.TEXT, "since_ns": Form.COUNT, "workload_kind": Form.TEXT, "labels": Form.LABELS},
        ("since_ns", "since_ns"),
        merge={"kind": _later, "labels": _later},
        paths={"workload_kind": "kind"},
        make=_workload,
        is_fact=True,
    ),
    RowType(
        "device",
        DeviceFacts,
        {"device": Form.TEXT, "since_ns": Form.COUNT, "sku": Form.TEXT, "gain_ppm": Form.RATIO, "counter_scope": Form.TEXT},
        ("since_ns", "since_ns"),
        merge={"sku": _later, "gain_uncertainty_ratio": _later, "counter_scope": _later},
        paths={"device": "uuid"},
        make=_device,
        is_fact=True,
    ),
)
KINDS: Final[dict[str, RowType]] = {kind.name: kind for kind in _ENTRIES}
"""Every kind of row by its name."""

Row = Any
"""A row of a kind in KINDS."""
Key = tuple[Any, ...]
"""Name of the kind, then the row's key."""


def kind_of(row: Row) -> RowType:
    """The kind of a row. Raises KeyError: not a row of any kind."""
    return _BY_CLASS[type(row)]


_BY_CLASS: Final[dict[type[Any], RowType]] = {kind.row: kind for kind in _ENTRIES}


def key_of(row: Row) -> Key:
    """What is unique among the rows of all kinds."""
    kind = kind_of(row)
    return (kind.name, *kind.key(row))


def fold(rows: Mapping[Key, Row], more: Iterable[Row]) -> dict[Key, Row]:
    """The rows that `more` change, as they are afterwards; pure."""
    changed: dict[Key, Row] = {}
    for row in more:
        kind = _BY_CLASS[type(row)]
        key = (kind.name, *kind.key(row))
        had = changed.get(key) or rows.get(key)
        changed[key] = row if had is None else kind.merged(had, row)
    return changed


@dataclass(frozen=True, slots=True)
class SourcedRow:
    """A row and whose it is. `sequence` is that of its segment, None while it is not sealed."""

    cluster: str
    node: str
    simulated: bool
    sequence: int | None
    row: Row
