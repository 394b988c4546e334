"""Samples of GPU health. Pure.

Records change every few minutes, so their samples are cached.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from energy_agent.core.catalogue.gpu import GPUS, HEALTH
from energy_agent.core.catalogue.metric import Labels, Sample
from energy_agent.core.health import HealthRecord

_QUANTITIES = {signal.value: signal for signal in GPUS if signal.source is HEALTH}
Families = dict[str, list[Sample]]
_Members = list[tuple[HealthRecord, Labels]]


class HealthSamples:
    """The samples of the records that there are, rebuilt only for groups of which a record is another."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[_Members, Families]] = {}

    def families(self, records: Sequence[HealthRecord], present: Mapping[str, Labels]) -> Families:
        """The samples of records whose device is in `present`, which gives the labels of a UUID."""
        groups: dict[str, _Members] = {}
        for record in records:
            if record.uuid in present:
                groups.setdefault(record.group, []).append((record, present[record.uuid]))
        kept, self._kept = self._kept, {}
        families: Families = {}
        for group, members in groups.items():
            last = kept.get(group)
            if last is None or not _same(last[0], members):
                last = members, _families(members)
            self._kept[group] = last
            for name, samples in last[1].items():  # the lists are kept, so nobody may add to them
                others = families.get(name)
                families[name] = others + samples if others else samples
        return families


def _same(last: _Members, members: _Members) -> bool:
    return len(last) == len(members) and all(a[0] is b[0] and a[1] == b[1] for a, b in zip(last, members, strict=True))


def _families(members: _Members) -> Families:
    families: Families = {}
    for record, ids in members:
        for reading in record.readings:
            if isfinite(reading.value):
                signal = _QUANTITIES[reading.quantity]
                families.setdefault(signal.name, []).append(((*ids, *reading.labels), signal.write(reading.value)))
        for absent in record.absent.items():
            families.setdefault("gpu_absent_info", []).append(((*ids, *absent), "1"))
    return families
