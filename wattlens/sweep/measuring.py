"""One interval of a sweep: settle, read until there are enough readings, and convert them into time and power."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dvfs.sweep.profile import Key, SettingInterval, SweepPlan
from dvfs.sweep.reading import DeviceReading, Pace, Sample, bindings, pace, power_w
from dvfs.types import Setting
from energy_agent.core.ports import Clock
from wattlens.sweep.gpu import energy, read_device, temperature_c
from wattlens.sweep.hold import Hold
from wattlens.sweep.work import Work
from wattlens.top.metrics import MetricsResponse

MIN_CHANGES = 3
"""Minimum readings that show progress of the work. If steps are too long for that many, the interval is extended."""
LONGEST = 4
"""Maximum extension, as a multiple of the interval's length."""
SPOILING = ("evaluation", "checkpoint")
"""Phases that a job enters now and then, not equally in every interval. Waits for data are part of its pace."""
_NS = 1e9


class SpoiledError(Exception):
    """The interval cannot be used for its setting; the text says why."""


@dataclass(slots=True)
class _Read:
    """What was read of one device."""

    energy: list[Sample] = field(default_factory=list)
    readings: list[DeviceReading] = field(default_factory=list)
    celsius: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measuring:
    """Measures intervals of one workload on its devices. `read` gives the agent's page, every `period_s` of real time."""

    uuids: Sequence[str]
    work: Work
    read: Callable[[], MetricsResponse | None]
    hold: Hold
    clock: Clock
    plan: SweepPlan
    period_s: float

    def stretch(self, key: Key, session: int, tick: Callable[[float], None], *, strict: bool) -> SettingInterval:
        """Measure at `key`, which has just been set.

        Args:
            key: the setting.
            session: number of the session of the sweep.
            tick: called repeatedly with the elapsed seconds.
            strict: whether an evaluation or a checkpoint within the interval spoils it.

        Raises:
            SpoiledError: the readings cannot be used.
            EndedError: a signal asked to end.
            WattlensError: the lease, the program or the agent is gone.
        """
        begun_ns = self.clock.utc_ns()
        from_ns = begun_ns + round(self.plan.settle_s * _NS)
        end_ns = from_ns + round(self.plan.seconds * _NS)
        last_ns = from_ns + round(LONGEST * self.plan.seconds * _NS)
        devices = {uuid: _Read() for uuid in self.uuids}
        counted: list[Sample] = []
        try:
            while True:
                self._look(devices, counted, from_ns)
                now_ns = self.clock.utc_ns()
                went = pace(counted, from_ns)
                enough = went is not None and went.changes >= MIN_CHANGES and _mean_power_w(devices, from_ns) is not None
                if now_ns >= last_ns or (now_ns >= end_ns and enough):
                    break
                tick((now_ns - begun_ns) / _NS)
                self.hold.pause(self.period_s)
            return self._make_interval(key, session, devices, counted, went, from_ns, now_ns, strict=strict)
        except ValueError as error:
            raise SpoiledError(str(error)) from None

    def _look(self, devices: dict[str, _Read], counted: list[Sample], from_ns: int) -> None:
        page = self.read()
        if page is None:
            return
        sample = self.work.sample(page)
        if sample is not None and (not counted or sample.t_ns > counted[-1].t_ns or sample.doing):
            counted.append(sample)
        for uuid, read in devices.items():
            joules, now = energy(page, uuid), read_device(page, uuid)
            if joules is not None and (not read.energy or joules.t_ns > read.energy[-1].t_ns):
                read.energy.append(joules)
            if now is not None and (not read.readings or now.t_ns > read.readings[-1].t_ns):
                read.readings.append(now)
                warm = temperature_c(page, uuid)
                if warm is not None and now.t_ns >= from_ns:
                    read.celsius.append(warm)

    def _make_interval(
        self,
        key: Key,
        session: int,
        devices: dict[str, _Read],
        counted: Sequence[Sample],
        went: Pace | None,
        from_ns: int,
        now_ns: int,
        *,
        strict: bool,
    ) -> SettingInterval:
        drawn = _mean_power_w(devices, from_ns)
        if went is None:
            raise SpoiledError(f"no {self.work.what} were counted; has the workload ended?")
        if drawn is None or drawn <= 0:
            raise SpoiledError("the agent reported no energy for one of the GPUs")
        doing = next((what for s in counted if s.t_ns >= from_ns for what in SPOILING if what in s.doing), "")
        if strict and doing:
            raise SpoiledError(f"not training all the time: {doing}")
        clock, limit_w = key
        setting = Setting(clock, None if limit_w is None else round(1000 * limit_w))
        bound = {why for read in devices.values() for why in bindings(read.readings, setting, from_ns)}
        warm = [celsius for read in devices.values() for celsius in read.celsius]
        return SettingInterval(
            clock,
            limit_w,
            session,
            (from_ns + now_ns) / 2 / _NS,
            went.seconds,
            went.time_s,
            drawn,
            round(math.fsum(warm) / len(warm), 2) if warm else None,
            tuple(sorted(bound)),
        )


def _mean_power_w(devices: dict[str, _Read], from_ns: int) -> float | None:
    """Mean power of all devices; None until each has a value."""
    powers = [power_w(read.energy, from_ns) for read in devices.values()]
    return None if any(power is None for power in powers) else math.fsum(power for power in powers if power is not None)
