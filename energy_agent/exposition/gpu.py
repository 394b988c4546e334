"""Samples of one GPU. Pure; runs every second and writes most of /metrics, hence plain loops over tables."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from operator import attrgetter

from energy_agent.core.catalogue.node import values_of
from energy_agent.core.energy import DeviceInfo, DeviceSample, Method
from energy_agent.core.snapshot import DeviceView
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal

Sample = tuple[tuple[str, ...], str]
"""Label values in the order of the signal's labels, and the value as text."""

FamilySamples = Mapping[str, list[Sample]]
"""Samples by the name of their signal; a missing name has an empty list."""

_REASONS = ("unknown_holder", "gap", "starting")


@lru_cache(maxsize=4_096)
def _seconds(lasted_ns: int) -> str:
    """Of event times, most of which stand still."""
    return decimal(lasted_ns, NS_PER_S)


_READINGS = values_of("reading")
_FACTS = values_of("fact")
_readings: Callable[[DeviceSample], tuple[int | None, ...]] = attrgetter(*(value.field for _, value in _READINGS))


def put(view: DeviceView, simulated: bool, families: FamilySamples) -> None:
    """Add the samples of a device."""
    info, sample = view.info, view.sample
    ids = (str(info.index), info.uuid)
    families["gpu_info"].append(_info(ids, info, simulated))
    families["gpu_up"].append((ids, "1" if view.up else "0"))
    if not view.up or sample is None:
        families["gpu_absent_info"].append(((*ids, "device", view.reason), "1"))
        return
    for name, reason in sample.absent.items():
        families["gpu_absent_info"].append(((*ids, name, reason), "1"))
    if sample.energy_mj is not None:
        families["gpu_counter_scope_info"].append(((*ids, *view.counter_scope), "1"))
    if sample.metered:
        _put_energy(ids, view, sample, families)
    if view.gap_bound_uj is not None:
        families["gpu_energy_gap_bound_joules_total"].append((ids, decimal(view.gap_bound_uj, UJ_PER_J)))
    if view.sharing:
        families["gpu_sharing_info"].append(((*ids, view.sharing), "1"))
    for (name, value), number in zip(_READINGS, _readings(sample), strict=True):
        if number is not None:
            families[name].append((ids, value.write(number)))
    for name, fact in _facts(ids, info):
        families[name].append(fact)
    held = families["gpu_clock_event_seconds_total"]
    for reason, lasted_ns in view.event_ns.items():
        held.append(((*ids, reason), _seconds(lasted_ns)))
    for xid, events in (sample.xid_counts or {}).items():
        families["gpu_xid_errors_total"].append(((*ids, str(xid)), str(events)))


def _put_energy(ids: tuple[str, str], view: DeviceView, sample: DeviceSample, families: FamilySamples) -> None:
    """Add the energy of a device that has a sensor: by the methods that its sensors permit, and by those that it had."""
    counted, integrated = sample.energy_mj is not None, sample.power_mw is not None
    permitted = {Method.COUNTER: counted, Method.BRIDGED: counted, Method.INTEGRATED: integrated}
    energy = families["gpu_energy_joules_total"]
    for method in Method:
        if permitted.get(method) or method in view.energy_uj:
            energy.append(((*ids, method), decimal(view.energy_uj.get(method, 0), UJ_PER_J)))
    if isfinite(view.gain_uncertainty_ratio):
        families["gpu_energy_gain_uncertainty_ratio"].append((ids, repr(float(view.gain_uncertainty_ratio))))
    if view.edge_uj is not None:
        families["gpu_energy_edge_uncertainty_joules"].append((ids, decimal(view.edge_uj, UJ_PER_J)))
    families["gpu_unallocated_energy_joules_total"].append((ids, decimal(view.unallocated_uj, UJ_PER_J)))
    families["gpu_unattributed_energy_joules_total"].extend(_unattributed(ids, tuple(view.unattributed_uj.items())))


# What stands still from one second to the next is made once; a node has at most a few dozen devices.


@lru_cache(maxsize=64)
def _info(ids: tuple[str, str], info: DeviceInfo, simulated: bool) -> Sample:
    facts = (info.name, info.architecture, info.pci_bus_id, info.driver, _word(info.mig_enabled), _word(simulated))
    return ids + facts, "1"


@lru_cache(maxsize=64)
def _facts(ids: tuple[str, str], info: DeviceInfo) -> tuple[tuple[str, Sample], ...]:
    facts = ((name, getattr(info, value.field), value.write) for name, value in _FACTS)
    return tuple((name, (ids, write(fact))) for name, fact, write in facts if fact is not None)


@lru_cache(maxsize=64)
def _unattributed(ids: tuple[str, str], energy_uj: tuple[tuple[str, int], ...]) -> tuple[Sample, ...]:
    recorded = dict.fromkeys(_REASONS, 0) | dict(energy_uj)
    return tuple(((*ids, reason), decimal(uj, UJ_PER_J)) for reason, uj in recorded.items())


def _word(value: bool) -> str:
    return "true" if value else "false"
