"""A statement from the rows of a record, by the laws of the report's SQL (reports/sql: used, parts, sites, rest). Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from energy_agent.core.boundary import is_gpu, is_host
from energy_agent.core.energy import State
from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.rows.kinds import PPM
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, EdgeRun, follow, systematic_uj
from energy_agent.ledger.summary import host_gains
from reports.figures.energy import BoundedEnergy
from reports.ledger.sums import MeteredNode
from reports.period import utc_text
from wattlens.usage.grouping import device_row, joined_rows, row_of
from wattlens.usage.record import RUN, EnergyRecord, Owner, Place
from wattlens.usage.statement import (
    DEVICE_GROUPS,
    NO_TOKENS,
    TOKENS_OF_WORKLOADS,
    TOTAL,
    UNALLOCATED,
    UNATTRIBUTED,
    WHOLE_PERIOD,
    GroupBy,
    Parts,
    RowKey,
    Usage,
    UsageRow,
    UsageScope,
    in_order,
)

_MEASURED: Final = (State.ACTIVE.value, State.IDLE.value)
_WHERE: Final = ("cluster", "node", "device", "workload")


@dataclass(slots=True)
class EdgeSum:
    """What is left of the edge errors of one thing over days; with the energy or the gaps that belong to it."""

    share_ppm: int
    run: EdgeRun | None = None
    energy_uj: int = 0
    gap_uj: int = 0

    def follow(self, numbers: Sequence[int]) -> None:
        """Add the run of a day: start, end and its three edge errors."""
        start_ns, end_ns, first_uj, inner_uj, last_uj = numbers
        run = EdgeRun(start_ns, end_ns, first_uj, inner_uj, last_uj, self.share_ppm)
        self.run = run if self.run is None else follow(self.run, run)

    @property
    def edge_uj(self) -> int:
        """The bound of the edge errors."""
        return 0 if self.run is None else self.run.bound_uj


@dataclass(slots=True)
class DeviceUsage:
    """A whole device over the period."""

    parts: Parts = field(default_factory=Parts)
    span: EdgeSum = field(default_factory=lambda: EdgeSum(PPM))
    gap_ns: int = 0
    metered_ns: int = 0

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return sum(self.parts.values)


@dataclass(slots=True)
class _Sums:
    """Day sums over the period, and when each device was metered: start, end, cluster and node."""

    devices: dict[Place, DeviceUsage] = field(default_factory=dict)
    owned: dict[tuple[RowKey, str], Parts] = field(default_factory=dict)  # by row and device
    spans: dict[tuple[RowKey, str, Owner], EdgeSum] = field(default_factory=dict)
    free: dict[tuple[str, str, str], EdgeSum] = field(default_factory=dict)  # by device, state and method
    metered_at: dict[str, list[tuple[int, int, str, str]]] = field(default_factory=dict)


def statement_of(record: EnergyRecord, by: GroupBy) -> Usage:
    """The statement of what was read.

    Raises:
        WattlensError: no energy in the period, or a device whose energy would count twice.
    """
    keys = _keys(record, by)
    sums = _Sums()
    _add_owners(sums, record, keys)
    _add_spans(sums, record, keys)
    refuse_twice(sums.metered_at)
    nodes = metered_nodes(sums.devices)
    used = {place: device for place, device in sums.devices.items() if is_gpu(place[2]) or is_host(place[2])}
    if not used:
        extent = (
            "the ledger is empty"
            if record.first_ns is None or record.last_ns is None
            else f"the ledger has readings from {utc_text(record.first_ns)} to {utc_text(record.last_ns)}"
        )
        raise WattlensError(f"no energy from {utc_text(record.start_ns)} to {utc_text(record.end_ns)}; {extent}")
    whole = all(node.whole for node in nodes)
    chosen = {place: device for place, device in used.items() if whole or is_gpu(place[2])}
    energy_uj: dict[str, int] = {}
    for (_, _, device), usage in chosen.items():
        energy_uj[device] = energy_uj.get(device, 0) + usage.energy_uj
    gains = gains_of(record.gain_ppm, energy_uj)
    open_places = record.open | short_hosts(chosen)
    if by in DEVICE_GROUPS:
        clusters = len({place[0] for place in chosen})
        rows = joined_rows(
            _device_row(device_row(by, *place, clusters, gpu=is_gpu(place[2])), place, device, gains, open_places)
            for place, device in chosen.items()
        )
    else:
        names, open_devices = ({place[2] for place in places} for places in (chosen, open_places))
        rows = joined_rows(_group_rows(sums, record, keys, names, gains, open_devices))
    scope = UsageScope(
        record.source,
        record.start_ns,
        record.end_ns,
        min((d.span.run.start_ns for d in chosen.values() if d.span.run), default=record.start_ns),
        max((d.span.run.end_ns for d in chosen.values() if d.span.run), default=record.end_ns),
        len({place[2] for place in chosen if is_gpu(place[2])}),
        len(nodes),
        sum(device.metered_ns for place, device in chosen.items() if is_gpu(place[2])),
        whole,
        "" if whole else why_gpus_only(nodes),
        record.simulated,
    )
    return Usage(by, scope, in_order(rows), _total(chosen, gains, open_places, record))


def _keys(record: EnergyRecord, by: GroupBy) -> "_Keys":
    served: dict[Owner, set[str]] = {}
    for owner, _, phase, model in record.tokens:
        if phase == "generation":
            served.setdefault(owner, set()).add(model)
    return _Keys(record, by, {owner: sorted(models) for owner, models in served.items()})


@dataclass(slots=True)
class _Keys:
    """The row of each workload on each day."""

    record: EnergyRecord
    by: GroupBy
    served: Mapping[Owner, Sequence[str]]
    _known: dict[tuple[Owner, int], RowKey] = field(default_factory=dict)

    def __call__(self, owner: Owner, day_ns: int) -> RowKey:
        at = (owner, self.record.end_ns if self.by in WHOLE_PERIOD else day_ns)
        row_key = self._known.get(at)
        if row_key is None:
            kind, labels = self._labels(owner, min(at[1] + NS_PER_DAY, self.record.end_ns))
            row_key = self._known[at] = row_of(self.by, owner[2], kind, labels, self.served.get(owner, ()))
        return row_key

    def _labels(self, owner: Owner, until_ns: int) -> tuple[str, dict[str, str]]:
        """The last before a time, else the first after it; of two at one time the later segment's."""
        labels = self.record.labels.get(owner, [])
        earlier = [each for each in labels if each[0] < until_ns]
        if earlier:
            return latest_labels(earlier)
        return min(labels, key=lambda each: (each[0], -each[1]))[2:] if labels else ("", {})


def latest_labels(labels: Iterable[tuple[int, int, str, dict[str, str]]]) -> tuple[str, dict[str, str]]:
    """Kind and labels that came last; of two at one time the later segment's."""
    return max(labels, key=lambda each: each[:2])[2:]


def _add_owners(sums: _Sums, record: EnergyRecord, keys: _Keys) -> None:
    for day_ns, cluster, node, device, workload, state, method, energy_uj, *run in record.rows(
        "holder_day", *_WHERE, "state", "method", "energy_uj", *RUN
    ):
        sums.devices.setdefault((cluster, node, device), DeviceUsage()).parts.add(state, energy_uj)
        if state in _MEASURED:
            key = keys((cluster, node, workload), day_ns)
            sums.owned.setdefault((key, device), Parts()).add(state, energy_uj)
        else:
            free = sums.free.setdefault((device, state, method), EdgeSum(SHARE_UNKNOWN))
            free.energy_uj += energy_uj
            free.follow(run)


def _add_spans(sums: _Sums, record: EnergyRecord, keys: _Keys) -> None:
    for day_ns, cluster, node, device, workload, metered_ns, gap_uj, gap_ns, *run in record.rows(
        "span_day", *_WHERE, "metered_ns", "gap_bound_uj", "gap_ns", *RUN
    ):
        if workload:
            owner = (cluster, node, workload)
            span = sums.spans.setdefault((keys(owner, day_ns), device, owner), EdgeSum(SHARE_UNKNOWN))
        else:
            whole = sums.devices.setdefault((cluster, node, device), DeviceUsage())
            whole.metered_ns += metered_ns
            whole.gap_ns += gap_ns
            span = whole.span
            sums.metered_at.setdefault(device, []).append((run[0], run[1], cluster, node))
        span.gap_uj += gap_uj
        span.follow(run)


def refuse_twice(times: Mapping[str, list[tuple[int, int, str, str]]]) -> None:
    """Refuse a device that two nodes metered at once; `times` are start, end, cluster and node by device.

    Raises:
        WattlensError: its energy would count twice.
    """
    for device, spans in times.items():
        if len({span[2:] for span in spans}) < 2:
            continue
        spans.sort()
        for one, other in pairwise(spans):
            if one[1] > other[0] and one[2:] != other[2:]:
                both = f"{one[2]}/{one[3]} and {other[2]}/{other[3]}"
                raise WattlensError(
                    f"{device}: {both} both have its energy at {utc_text(other[0])}, so it would count twice; select only "
                    "one of them (are these an import and the agent's own segments of the same period?)"
                )


def metered_nodes(devices: Mapping[Place, DeviceUsage]) -> list[MeteredNode]:
    """For how long the GPUs and the host of each node were metered."""
    metered: dict[tuple[str, str], list[int]] = {}
    for (cluster, node, device), usage in devices.items():
        if is_gpu(device) or is_host(device):
            numbers = metered.setdefault((cluster, node), [0, 0, 0])
            numbers[0] += is_gpu(device)
            numbers[1 if is_gpu(device) else 2] += usage.metered_ns
    return [MeteredNode("", cluster, node, *numbers) for (cluster, node), numbers in sorted(metered.items())]


def why_gpus_only(nodes: Sequence[MeteredNode]) -> str:
    """Why the energy of whole nodes is not known."""
    whole = sum(node.whole for node in nodes)
    return f"{whole} of {len(nodes)} nodes have a whole-node meter" if whole else "no node has a whole-node meter"


def gains_of(gain_ppm: Mapping[str, int], energy_uj: Mapping[str, int]) -> dict[str, int]:
    """Bounds of the gain errors of GPUs and hosts in ppm; that of a host includes the GPUs that were subtracted from its meter.

    Args:
        gain_ppm: by device, as its ledger states it.
        energy_uj: energy of the devices in the sum.
    """
    gains = {device: ppm for device, ppm in gain_ppm.items() if is_gpu(device) or is_host(device)}
    hosts = {device: gains[device] for device in energy_uj if is_host(device) and device in gains}
    return gains | host_gains(hosts, {d: gains.get(d, 0) for d in energy_uj}, energy_uj) if hosts else gains


def short_hosts(chosen: Mapping[Place, DeviceUsage]) -> set[Place]:
    """Hosts that were metered for less time than a GPU of their node, and no gap shows it."""
    longest: dict[tuple[str, str], int] = {}
    for (cluster, node, device), sums in chosen.items():
        if is_gpu(device):
            longest[cluster, node] = max(sums.metered_ns, longest.get((cluster, node), 0))
    return {
        place
        for place, sums in chosen.items()
        if is_host(place[2])
        and (gpu_ns := longest.get(place[:2], 0)) - sums.metered_ns - sums.gap_ns > max(NS_PER_S, gpu_ns // 1000)
    }


def gain_error(device: str, energy_uj: int, gains: Mapping[str, int]) -> tuple[int, int]:
    """(bound of the gain error, 1 where nothing bounds it)."""
    return (systematic_uj(energy_uj, gains[device]), 0) if device in gains else (0, 1)


def _device_energy(place: Place, device: DeviceUsage, gains: Mapping[str, int], open_places: set[Place]) -> BoundedEnergy:
    gain_uj, unbounded = gain_error(place[2], device.energy_uj, gains)
    return BoundedEnergy(
        device.energy_uj, gain_uj, device.span.edge_uj, device.span.gap_uj, unbounded, int(place in open_places)
    )


def _device_row(key: RowKey, place: Place, device: DeviceUsage, gains: Mapping[str, int], open_places: set[Place]) -> UsageRow:
    energy = _device_energy(place, device, gains, open_places)
    return UsageRow(key, energy, device.parts, no_tokens=TOKENS_OF_WORKLOADS)


def _group_rows(
    sums: _Sums, record: EnergyRecord, keys: _Keys, names: set[str], gains: Mapping[str, int], open_devices: set[str]
) -> Iterator[UsageRow]:
    """Parts of the rows of groups, then of what was unallocated and unattributed, then tokens."""
    for (key, device), parts in sums.owned.items():
        if device in names:
            gain_uj, unbounded = gain_error(device, sum(parts.values), gains)
            yield UsageRow(key, BoundedEnergy(sum(parts.values), gain_uj, 0, 0, unbounded, int(device in open_devices)), parts)
    for (key, device, _), span in sums.spans.items():
        if device in names:
            yield UsageRow(key, BoundedEnergy(edge_uj=span.edge_uj, gap_uj=span.gap_uj), Parts())
    for (device, state, _), free in sums.free.items():
        if device in names:
            gain_uj, unbounded = gain_error(device, free.energy_uj, gains)
            parts = Parts()
            parts.add(state, free.energy_uj)
            key = UNALLOCATED if state == State.UNALLOCATED else UNATTRIBUTED
            yield UsageRow(key, BoundedEnergy(free.energy_uj, gain_uj, free.edge_uj, 0, unbounded), parts)
    for (owner, day_ns, phase, _), count in record.tokens.items():
        yield UsageRow(keys(owner, day_ns), BoundedEnergy(), Parts(), {phase: count})


def _total(
    chosen: Mapping[Place, DeviceUsage], gains: Mapping[str, int], open_places: set[Place], record: EnergyRecord
) -> UsageRow:
    energy, numbers, tokens = BoundedEnergy(), [0, 0, 0, 0], dict[str, int]()
    for place, device in chosen.items():
        energy += _device_energy(place, device, gains, open_places)
        numbers = [a + b for a, b in zip(numbers, device.parts.values, strict=True)]
    for (_, _, phase, _), count in record.tokens.items():
        tokens[phase] = tokens.get(phase, 0) + count
    return UsageRow(TOTAL, energy, Parts(*numbers), tokens, NO_TOKENS)
