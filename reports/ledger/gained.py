"""Sums of devices with the gain errors of their sensors, which are bounds per device, rounded up, and add up linearly."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from energy_agent.ledger.rows.uncertainty import systematic_uj
from reports.ledger.store import DayDatabase
from reports.ledger.sums import DeviceClassEnergy, PartEnergy, StateEnergy


@dataclass(frozen=True, slots=True)
class _Gained:
    """`gain_ppm` is the gain error of the device's sensor; -1: its ledger states none, so it has no bounds."""

    gain_ppm: int

    @property
    def unbounded(self) -> int:
        """1 where it has no bounds."""
        return int(self.gain_ppm < 0)

    def gain_error(self, energy_uj: int) -> int:
        """Bound of the gain error of some energy; 0 without bounds."""
        return 0 if self.unbounded else systematic_uj(energy_uj, self.gain_ppm)


@dataclass(frozen=True, slots=True)
class WholeDevice(_Gained):
    """A whole device of one class (gpu | host | part), by what it was doing."""

    site: str
    device_class: str
    cluster: str
    node: str
    device: str
    sku: str
    active_uj: int
    idle_uj: int
    unallocated_uj: int
    unattributed_uj: int
    edge_uj: int
    gap_uj: int
    gap_ns: int
    metered_ns: int
    open: int

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return self.active_uj + self.idle_uj + self.unallocated_uj + self.unattributed_uj

    @property
    def gain_uj(self) -> int:
        """Bound of the gain error."""
        return self.gain_error(self.energy_uj)


@dataclass(frozen=True, slots=True)
class _DevicePart(_Gained):
    site: str
    part: int
    device_class: str
    device: str
    active_uj: int
    idle_uj: int
    active_edge_uj: int
    idle_edge_uj: int
    gpu_ns: int
    open: int

    @property
    def active_gain_uj(self) -> int:
        return self.gain_error(self.active_uj)

    @property
    def idle_gain_uj(self) -> int:
        return self.gain_error(self.idle_uj)

    @property
    def held_gain_uj(self) -> int:
        return self.gain_error(self.active_uj + self.idle_uj)


@dataclass(frozen=True, slots=True)
class _DeviceState(_Gained):
    site: str
    device_class: str
    state: str
    method: str
    energy_uj: int
    edge_uj: int

    @property
    def gain_uj(self) -> int:
        return self.gain_error(self.energy_uj)


def read_devices(store: DayDatabase) -> tuple[WholeDevice, ...]:
    """Every whole device."""
    return store.records(WholeDevice, "devices")


def whole_energy_of(devices: Iterable[WholeDevice]) -> tuple[DeviceClassEnergy, ...]:
    """Whole devices by site, class and GPU model."""
    by = attrgetter("site", "device_class", "sku")
    sums = []
    for (site, device_class, sku), group in groupby(sorted(devices, key=by), by):
        same = list(group)
        added = _add(same, "energy_uj", "edge_uj", "gap_uj", "gap_ns", "metered_ns", "gain_uj", "open", "unbounded")
        names, nodes = len({each.device for each in same}), len({(each.cluster, each.node) for each in same})
        sums.append(DeviceClassEnergy(site, device_class, sku, devices=names, nodes=nodes, **added))
    return tuple(sums)


def read_parts(store: DayDatabase) -> tuple[PartEnergy, ...]:
    """Energy by part of the fleet and class of device."""
    edges = {(site, part, of): (int(uj), int(gap_uj)) for site, part, of, uj, gap_uj in store.answer("part_edges")}
    by = attrgetter("site", "part", "device_class")
    sums = []
    for (site, part, device_class), group in groupby(store.records(_DevicePart, "parts"), by):
        same = list(group)
        held_edge_uj, gap_uj = edges.get((site, part, device_class), (0, 0))
        added = _add(same, "active_uj", "idle_uj", "active_edge_uj", "idle_edge_uj", "gpu_ns", "open", "unbounded")
        added |= _add(same, "active_gain_uj", "idle_gain_uj", "held_gain_uj")
        sums.append(PartEnergy(site, part, device_class, devices=len(same), held_edge_uj=held_edge_uj, gap_uj=gap_uj, **added))
    return tuple(sums)


def read_states(store: DayDatabase) -> tuple[StateEnergy, ...]:
    """Energy by what the ledger calls it and how it was metered."""
    by = attrgetter("site", "device_class", "state", "method")
    sums = []
    for (site, device_class, state, method), group in groupby(store.records(_DeviceState, "states"), by):
        added = _add(list(group), "energy_uj", "edge_uj", "gain_uj", "unbounded")
        sums.append(StateEnergy(site, device_class, state, method, **added))
    return tuple(sums)


def _add(rows: Iterable[object], *names: str) -> dict[str, int]:
    """Sums of attributes."""
    return {name: sum(getattr(row, name) for row in rows) for name in names}
