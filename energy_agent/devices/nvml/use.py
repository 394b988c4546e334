"""Processes of one device, their SM time and, in MIG mode, its instances; read every few seconds.

SM time is read only where several processes run, and instances only where they exist: a device with one owner costs one call.

SM time follows from the samples of nvmlDeviceGetProcessUtilization. Some drivers return one sample per process, the mean since
the requested time; others return one per sampling period. Drivers also return samples from before that time, processes that
have ended, and occasionally garbage (a utilisation of 808,334,905 %). Time stamps are in us since 1970 on the driver's own
clock. They are compared with each other, and with our clock only to detect garbage.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_agent.core.energy import MigUse, ProcessUse
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml.abi import GPM_SM_UTILIZATION, InstanceProcess, MigShape, NvmlError, Utilization
from energy_agent.devices.nvml.library import Gpm, RealNvml

PERIOD_MAX_US: Final = 1_000_000
"""The longest sampling period of a driver (nvml.h: 1/6 s to 1 s)."""
WINDOW_MAX_US: Final = 60_000_000
STRAY_US: Final = 24 * 3600 * 1_000_000
"""A stamp further than this from our clock is garbage."""
FIRST_LOOK_US = 5_000_000  # how far back the first question for SM time reaches
GPM_LEAST_NS = NS_PER_S // 2
_PPM_PER_PERCENT = 10_000

Call = Callable[[str, str, Callable[[object], Any], dict[str, Any], dict[str, str]], None]
"""`DeviceReader`'s way to make a call: its field, its name, the call, where the answer goes, where the reason goes."""


@dataclass(frozen=True, slots=True)
class SmTime:
    """SM time in us by pid since the last answer, and the stamp to ask from next time. `believed`: not all was garbage."""

    by_pid: Mapping[int, int]
    last_us: int
    believed: bool


def sm_time(samples: Iterable[Utilization], since_us: int, now_us: int) -> SmTime:
    """What processes used after `since_us`; an answer without samples says that nothing ran."""
    listed = list(samples)
    sane = [s for s in listed if s.pid > 0 and 0 <= s.sm_percent <= 100 and abs(s.timestamp_us - now_us) < STRAY_US]
    fresh: dict[tuple[int, int], int] = {}
    for s in sane:
        if s.timestamp_us > since_us:
            key = (s.timestamp_us, s.pid)
            fresh[key] = max(fresh.get(key, 0), s.sm_percent)
    stamps = sorted({stamp for stamp, _ in fresh})
    if not stamps:
        believed = not listed or bool(sane)
        return SmTime({}, max(since_us, now_us - PERIOD_MAX_US) if believed else since_us, believed)  # nothing ran until then
    lasted_us = _lasted_us(stamps, since_us, one_each=len({pid for _, pid in fresh}) == len(fresh))
    by_pid: dict[int, int] = {}
    for (stamp, pid), percent in fresh.items():
        by_pid[pid] = by_pid.get(pid, 0) + percent * lasted_us[stamp] // 100
    return SmTime(by_pid, stamps[-1], believed=True)


def _lasted_us(stamps: list[int], since_us: int, *, one_each: bool) -> dict[int, int]:
    """How long the time is that each stamp's samples stand for."""
    if one_each:  # means of the whole window
        return dict.fromkeys(stamps, min(stamps[-1] - since_us, WINDOW_MAX_US))
    return {stamp: min(stamp - before, PERIOD_MAX_US) for before, stamp in zip([since_us, *stamps], stamps, strict=False)}


class UseReader:
    """Reads the processes and MIG devices of one device. `gpm`: whether the activity of MIG devices may be read."""

    def __init__(self, nvml: RealNvml, clock: Clock, call: Call, *, gpm: bool) -> None:
        self._nvml, self._clock, self._call, self._want_gpm = nvml, clock, call, gpm
        self._since_us = 0
        self._instances = _Activity(nvml, clock)
        self._shapes: list[MigShape] = []
        self._total = 0

    def read(self, absent: dict[str, str], *, mig: bool) -> tuple[tuple[ProcessUse, ...] | None, tuple[MigUse, ...] | None]:
        """Read the processes and the MIG devices, with None for what is not available. `mig`: the GPU was in MIG mode."""
        readings: dict[str, Any] = {}
        listed: list[InstanceProcess]
        if mig:
            self._call("processes", "GetComputeRunningProcesses", self._nvml.instance_processes, readings, absent)
            listed = readings.get("processes", [])
        else:
            self._call("processes", "GetComputeRunningProcesses", self._nvml.compute_processes, readings, absent)
            listed = [InstanceProcess(pid, memory, None, None) for pid, memory in readings.get("processes", [])]
        if not readings:
            return None, None
        if mig:
            return self._by_instance(listed)
        self.close()
        return self._by_time(listed), None

    def close(self) -> None:
        """Release what GPM holds."""
        self._shapes = []
        self._instances.close()

    def _by_time(self, listed: list[InstanceProcess]) -> tuple[ProcessUse, ...]:
        used: Mapping[int, int] | None = None
        if len({p.pid for p in listed}) > 1:
            used = self._sm_time()
        else:  # a process that joins later shares the GPU from this list on
            self._since_us = max(self._since_us, self._clock.utc_ns() // 1000 - PERIOD_MAX_US)
        if used is None:
            return tuple(ProcessUse(p.pid, p.memory_b) for p in listed)
        here = {p.pid for p in listed}
        gone = (ProcessUse(pid, sm_us=us, listed=False) for pid, us in sorted(used.items()) if pid not in here and us)
        return (*(ProcessUse(p.pid, p.memory_b, used.get(p.pid, 0)) for p in listed), *gone)

    def _sm_time(self) -> Mapping[int, int] | None:
        """SM time in us by pid since the previous call; None where the driver does not report it."""
        now_us = self._clock.utc_ns() // 1000
        # The driver stamps samples with UTC: once that was set back, none is later than the last one that was read.
        since_us = self._since_us if 0 < self._since_us <= now_us else now_us - FIRST_LOOK_US
        answer: dict[str, Any] = {}
        self._call(
            "sm", "GetProcessUtilization", lambda h: self._nvml.process_utilization(h, since_us), answer, {}
        )  # its absence is no field's
        if not answer:
            return None
        sm_use: SmTime = sm_time(answer["sm"], since_us, now_us)
        self._since_us = sm_use.last_us
        return sm_use.by_pid if sm_use.believed else None

    def _by_instance(self, listed: list[InstanceProcess]) -> tuple[tuple[ProcessUse, ...], tuple[MigUse, ...] | None]:
        asked: dict[str, Any] = {}
        self._call("mig", "GetMigDeviceHandleByIndex", self._nvml.mig_shapes, asked, {})
        self._call("slices", "GetMaxMigDeviceCount", self._nvml.mig_slices, asked, {})
        if "mig" not in asked or "slices" not in asked:
            return tuple(ProcessUse(p.pid, p.memory_b) for p in listed), None
        shapes: list[MigShape] = asked["mig"]
        self._shapes, self._total = shapes, max(asked["slices"], sum(s.slices for s in shapes))
        if not shapes and not any(p.gpu_instance is not None for p in listed):
            return tuple(ProcessUse(p.pid, p.memory_b) for p in listed), None
        names = {(s.gpu_instance, s.compute_instance): s.uuid for s in shapes}
        processes = tuple(
            ProcessUse(p.pid, p.memory_b, mig=names.get((p.gpu_instance, p.compute_instance), ""))  # type: ignore[arg-type]
            for p in listed
        )
        activity = self._measure() if self._want_gpm else {}
        return processes, self._uses(activity)

    def activity(self) -> tuple[MigUse, ...] | None:
        """The MIG devices of the last listing, and how busy they were since the last look; None where that is not measured."""
        activity = self._measure() if self._want_gpm and self._shapes else {}
        return self._uses(activity) if activity else None

    def _measure(self) -> Mapping[int, int]:
        answer: dict[str, Any] = {}
        self._call("activity", "GpmMigSampleGet", lambda h: self._instances.read(h, self._shapes), answer, {})
        activity: Mapping[int, int] = answer.get("activity", {})
        return activity

    def _uses(self, activity: Mapping[int, int]) -> tuple[MigUse, ...]:
        shapes = self._shapes
        return tuple(MigUse(s.uuid, s.slices, self._total, s.sms, activity.get(s.gpu_instance)) for s in shapes)


class _Activity:
    """GPM of each GPU instance, measured from one listing to the next."""

    def __init__(self, nvml: RealNvml, clock: Clock) -> None:
        self._nvml, self._clock = nvml, clock
        self._samplers: dict[int, Gpm] = {}
        self._uuids: frozenset[str] = frozenset()
        self._read_ns = 0

    def read(self, handle: object, shapes: list[MigShape]) -> dict[int, int]:
        """Share of each instance's SMs that worked since the last time, in ppm; empty the first time and after a change.

        Raises:
            NvmlError: GPM is not supported, or failed; then it begins again.
        """
        now_ns, uuids = self._clock.boot_ns(), frozenset(s.uuid for s in shapes)
        try:
            if uuids != self._uuids:
                self.close()
                for instance in sorted({s.gpu_instance for s in shapes}):
                    self._samplers[instance] = self._nvml.gpm(handle, instance)
                self._uuids, self._read_ns = uuids, now_ns
                return {}
            if now_ns - self._read_ns < GPM_LEAST_NS:
                return {}
            self._read_ns = now_ns
            readings = {instance: sampler.read([GPM_SM_UTILIZATION]) for instance, sampler in self._samplers.items()}
        except NvmlError:
            self.close()
            raise
        percents = {instance: answer.get(GPM_SM_UTILIZATION, -1.0) for instance, answer in readings.items()}
        return {i: round(min(p, 100.0) * _PPM_PER_PERCENT) for i, p in percents.items() if 0.0 <= p < 200.0}

    def close(self) -> None:
        """Free the samples."""
        for sampler in self._samplers.values():
            sampler.close()
        self._samplers, self._uuids = {}, frozenset()
