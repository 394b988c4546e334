"""Devices whose health call hung: the reader skips them, and a process that may hang too retries them.

Each such call costs a reader, so retries are rarer than those of readings: after `first_s`, then with doubled intervals. A
device that hangs again soon after a success continues with its previous interval.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from energy_agent.core.health import HealthRecord
from energy_agent.reader.child import DeviceProbe, ReaderOptions, Unkillable

FIRST_S = 10.0
MAX_BACK_OFF_S = 600.0
PATIENCE_S = 5.0
"""How long a prober may take: it opens NVML and asks for every group."""


@dataclass(slots=True)
class _Hang:
    call: str
    back_off_s: float
    probe_at_s: float
    answered_s: float | None = None  # since when the reader asks again; None: it hangs


@dataclass(slots=True)
class HealthHangs(Collection[str]):
    """The UUIDs of devices whose health is not read. `drive` is called in a loop and never waits."""

    first_s: float = FIRST_S
    unkillable: Unkillable = field(default_factory=Unkillable)
    start_probe: Callable[..., DeviceProbe] = DeviceProbe
    _hangs: dict[str, _Hang] = field(default_factory=dict)
    _probe: DeviceProbe | None = None

    def __contains__(self, uuid: object) -> bool:
        return any(uuid == name for name in self)

    def __iter__(self) -> Iterator[str]:
        return (uuid for uuid, hang in self._hangs.items() if hang.answered_s is None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, uuid: str, call: str) -> None:
        """A call hung in it."""
        now_s, before = time.monotonic(), self._hangs.get(uuid)
        back_off_s = self.first_s
        if before is not None and (before.answered_s is None or now_s - before.answered_s < MAX_BACK_OFF_S):
            back_off_s = min(2 * before.back_off_s, MAX_BACK_OFF_S)
        self._hangs[uuid] = _Hang(call, back_off_s, now_s + back_off_s)

    def records(self, boot_ns: int) -> Iterator[HealthRecord]:
        """What is shown of these devices: that their health is absent, and why."""
        for uuid in self:
            yield HealthRecord(uuid, "", boot_ns, (), {"health": f"{self._hangs[uuid].call} hangs in the driver"})

    def drive(self, options: ReaderOptions, up: Collection[str]) -> str | None:
        """Try one device of those that are `up`; returns the UUID of one that answers again."""
        now_s = time.monotonic()
        if self._probe is None:
            stuck = self.unkillable.devices
            due = [u for u in self if u in up and u not in stuck and now_s >= self._hangs[u].probe_at_s]
            if due and options.health_period_ns:
                self._start(due[0], options, now_s)
            return None
        answer = self._probe.answer()
        if answer is None:
            return None
        if self._probe.hangs:
            self.unkillable.add(self._probe, self._probe.device)
        uuid, self._probe = self._probe.device, None
        hang = self._hangs[uuid]
        if not answer:
            hang.back_off_s = min(2 * hang.back_off_s, MAX_BACK_OFF_S)
            hang.probe_at_s = now_s + hang.back_off_s
            return None
        hang.answered_s = now_s
        return uuid

    def _start(self, uuid: str, options: ReaderOptions, now_s: float) -> None:
        try:
            self._probe = self.start_probe(uuid, options.environ, PATIENCE_S, health_groups=options.health_groups)
        except OSError:  # no process or descriptor is left on this machine
            self._hangs[uuid].probe_at_s = now_s + self.first_s

    def stop(self) -> None:
        """End the prober."""
        probe, self._probe = self._probe, None
        if probe is not None and not probe.stop():
            self.unkillable.add(probe, probe.device)
