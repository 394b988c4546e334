"""Samples of GPU health. Pure.

Records change every few minutes, so their samples are cached.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from energy_agent.core.catalogue.node import values_of
from energy_agent.core.health import HealthRecord
from energy_agent.exposition.gpu import Sample

_QUANTITIES = {value.field: (name, value.write) for name, value in values_of("health")}
Families = dict[str, list[Sample]]


class HealthSamples:
    """The samples of the records that there are, rebuilt only for groups of which a record is another."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[list[tuple[HealthRecord, str]], Families]] = {}

    def put(self, records: Sequence[HealthRecord], index: Mapping[str, str], families: Families) -> None:
        """Add the samples of records whose device is in `index`, which gives the driver's index of a UUID."""
        groups: dict[str, list[tuple[HealthRecord, str]]] = {}
        for record in records:
            gpu = index.get(record.uuid)
            if gpu is not None:
                groups.setdefault(record.group, []).append((record, gpu))
        kept, self._kept = self._kept, {}
        for group, members in groups.items():
            held = kept.get(group)
            if held is None or not _same(held[0], members):
                held = members, _families(members)
            self._kept[group] = held
            for name, samples in held[1].items():  # the lists are kept, so nobody may add to them
                others = families.get(name)
                families[name] = others + samples if others else samples


def _same(held: list[tuple[HealthRecord, str]], members: list[tuple[HealthRecord, str]]) -> bool:
    return len(held) == len(members) and all(a[0] is b[0] and a[1] == b[1] for a, b in zip(held, members, strict=True))


def _families(members: list[tuple[HealthRecord, str]]) -> Families:
    families: Families = {}
    for record, gpu in members:
        ids = (gpu, record.uuid)
        for reading in record.readings:
            if isfinite(reading.value):
                name, write = _QUANTITIES[reading.quantity]
                families.setdefault(name, []).append(((*ids, *reading.labels), write(reading.value)))
        for quantity, reason in record.absent.items():
            families.setdefault("gpu_absent_info", []).append(((*ids, quantity, reason), "1"))
    return families
