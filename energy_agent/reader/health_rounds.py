"""Schedule of health groups: spread over the period, after the readings of a second."""

from collections.abc import Collection, Mapping, Sequence

from energy_agent.core.health import GROUPS, HealthRecord
from energy_agent.core.ports import Clock
from energy_agent.devices.port import Device, Mark


class HealthRounds:
    """A round visits every group once in a period, spread evenly; `due` is called once a sweep.

    A group is read of all devices in a row: the second device costs a third of the first, whose calls found nothing in the
    processor's caches.
    """

    def __init__(self, groups: Sequence[str], period_ns: int) -> None:
        self._groups, self._period_ns = groups, period_ns
        self._place = 0
        self._since_ns: int | None = None
        self._owed = 0.0

    def due(self, boot_ns: int) -> list[str]:
        """The groups to read now."""
        elapsed_ns = 0 if self._since_ns is None else boot_ns - self._since_ns
        self._since_ns = boot_ns
        # After a pause (a stopped process, a suspended machine) a round's worth is enough.
        self._owed = min(self._owed + elapsed_ns * len(self._groups) / self._period_ns, float(len(self._groups)))
        count = int(self._owed)
        self._owed -= count
        begin, self._place = self._place, (self._place + count) % len(self._groups)
        return [self._groups[(begin + k) % len(self._groups)] for k in range(count)]


class HealthVisits:
    """Reads the health of the devices that the reader has open, a little after each sweep."""

    def __init__(self, clock: Clock, mark: Mark, more: Sequence[str], period_ns: int, without: Collection[str]) -> None:
        """`more` are groups in addition to those that are always read; `without` has the UUIDs of devices to skip."""
        self._clock, self._mark = clock, mark
        self._without = set(without)
        self._rounds = HealthRounds((*GROUPS, *more), period_ns)
        self._devices: dict[int, Device] = {}
        self.changed: list[int] = []
        """Devices of the last visit whose MIG mode is another than they were described with."""

    def include(self, uuid: str) -> None:
        """Ask a device again that was left alone."""
        self._without.discard(uuid)

    def visit(self, devices: Mapping[int, Device]) -> list[HealthRecord]:
        """What is due now of `devices`, by index."""
        for index in [i for i, device in self._devices.items() if devices.get(i) is not device]:
            self._devices.pop(index).close_health()  # lost or reopened: its handle may differ
        self.changed = []
        records = []
        due = self._rounds.due(self._clock.boot_ns())
        for group, index in ((group, index) for group in due for index in sorted(devices)):
            device = devices[index]
            if device.uuid in self._without:
                continue
            self._mark.device = device.uuid
            self._devices[index] = device
            record = device.read_health(group)
            records.append(record)
            if any(r.quantity == "mig_enabled" and r.value != device.info.mig_enabled for r in record.readings):
                self.changed.append(index)
        return records


def read_all(device: Device, more: Sequence[str]) -> None:
    """Every group of one device once: returns if none of their calls hangs, whatever the driver answers."""
    for group in (*GROUPS, *more):
        device.read_health(group)
    device.close_health()
