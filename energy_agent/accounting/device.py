"""One device's account between commits: meter state, owners, event times, and the state that survives a restart. Pure.

`dump` and `restore` are inverse; the journal stores the text.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import EVENT_REASONS, DeviceInfo, DeviceSample, Entry, Gap, Interval, Method, MigUse
from energy_agent.core.meters.plausible import GPU_LIMIT_UNKNOWN_MW, gpu_max_mw
from energy_agent.core.saved_state import UNREADABLE, read_fields
from energy_agent.metering.attribution import WHOLE, Holding, Shape, known_of, policy_for, shares
from energy_agent.metering.counter_scope import ScopeMeter
from energy_agent.metering.gpu import MeterState, MeterStep, SensorLimits, advance
from energy_agent.metering.sharing.settlement import Resting, Settlement
from energy_agent.owners.processes import DeviceOwners

Anchor = tuple[MeterState | None, Holding | None, Shape]
"""Where a device's recorded time ends: its last reading, its owners and its shape there."""
TICK_DEFAULT_NS = 150_000_000  # counters of current data-centre boards tick about every 100 ms, with jitter
RESTING_LEAST_NS = 900_000_000  # a shorter interval says little: the counter ticks every 100 ms
TICK_NS = {"Volta": 40_000_000, "Pascal": 40_000_000}  # 20 ms, with jitter


class SensorFor:
    """What the meter may assume of a device: as measured on it, or on a board of its name, else by its generation."""

    def __init__(
        self,
        gap_ns: int,
        measured_tick_ns: Mapping[str, int] = MappingProxyType({}),
        counter_scope: CounterScope = CounterScope.UNKNOWN,
    ) -> None:
        """`measured_tick_ns` is the longest tick by UUID and by product name (sensor_file)."""
        self._counter_scope = counter_scope
        self._gap_ns = gap_ns
        self._measured = measured_tick_ns

    def __call__(self, info: DeviceInfo) -> SensorLimits:
        """The sensor of a device."""
        tick_ns = self._measured.get(info.uuid) or self._measured.get(info.name)
        max_mw, is_limit_known = gpu_max_mw(info.name, info.power_limit_max_mw), info.power_limit_max_mw is not None
        tick_ns = tick_ns or TICK_NS.get(info.architecture, TICK_DEFAULT_NS)
        return SensorLimits(tick_ns, max_mw, self._gap_ns, is_limit_known, self._counter_scope)


_meter: Callable[[MeterState], tuple[Any, ...]] = attrgetter(*MeterState.__slots__)
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps makes an encoder a call


@dataclass(slots=True)
class DeviceAccount:
    """What the agent knows of one device."""

    info: DeviceInfo
    sensor: SensorLimits
    meter: MeterState | None = None
    sample: DeviceSample | None = None  # the last full reading, with energy and power of the last reading
    owners: DeviceOwners = field(default_factory=lambda: DeviceOwners(None))
    held_before: Holding | None = None  # owners at the last recorded edge
    event_ns: dict[str, int] = field(default_factory=dict)
    xid: dict[int, int] = field(default_factory=dict)
    edge_uj: int | None = None  # of the last interval
    policy: str = ""  # by which its owners share it; "": nobody holds it, or that is not known
    unmetered: list[Entry] = field(default_factory=list)  # of the last reading: device time of owners without a sensor
    _judged: DeviceOwners | None = None
    _shape: Shape = WHOLE
    _shape_before: Shape = WHOLE  # at the last recorded edge
    _settlement: Settlement = field(default_factory=Settlement)
    _resting: Resting = field(default_factory=Resting)  # of a GPU in MIG mode
    _events_boot_ns: int | None = None  # when event reasons were last read
    _scopes: ScopeMeter | None = None
    _scope: CounterScope = CounterScope.UNKNOWN  # as measured

    def feed(self, sample: DeviceSample, boot_id: str) -> tuple[list[Entry], Gap | None]:
        """Book one reading."""
        self._measure_scope(sample, boot_id)
        read = sample if sample.gpu_percent is not None else replace(sample, gpu_percent=self._last_percent())
        if self.owners is not self._judged or sample.processes is not None or sample.mig is not None:
            self._judge(sample)
        step: MeterStep = advance(self.meter, read, self.sensor, boot_id, self.info.driver_epoch)
        self.meter = step.state
        self._remember(sample)
        before, shape, anchored = self.held_before, self._shape_before, self.meter.boot_ns == sample.boot_ns
        if anchored:  # from this reading on, so from these owners on
            self.held_before, self._shape_before = self.owners.holding, self._shape
        self.unmetered = []
        interval = step.interval or step.time
        if interval is None:
            return [], step.gap
        after, listed = self.owners.holding, sample.processes is not None
        if listed and after is not None and self.owners.departed:
            after = replace(after, weights=dict(self.owners.departed) | dict(after.weights))
        if self._shape is not shape and (self._shape.same_devices(shape) or _same(before, after)):
            shape = self._shape
        if step.interval is None:  # of time alone there is nothing to settle, and nothing without an owner
            open_entries = shares(interval, before, after, self.owners.reason, shape)
            self.unmetered = [entry for entry in open_entries if entry.workload]
            return [], step.gap
        self._see_rest(step.interval)
        entries = shares(
            step.interval, before, after, self.owners.reason, shape, self._settlement, closes=self._measured(sample)
        )
        self.edge_uj = step.interval.edge_uj
        return entries, step.gap

    @property
    def counter_scope(self) -> CounterScope:
        """What its energy counter includes: as stated, else as measured."""
        return self._scope if self.sensor.counter_scope is CounterScope.UNKNOWN else self.sensor.counter_scope

    @property
    def scope_and_basis(self) -> tuple[str, str]:
        """What its energy counter includes, and how that is known."""
        scope, _, basis = self.counter_scope.partition(":")
        is_contradicted = self._scope is not CounterScope.UNKNOWN and self._scope.of_module != self.counter_scope.of_module
        return scope, f"{basis}, measured otherwise" if is_contradicted else basis

    def _measure_scope(self, sample: DeviceSample, boot_id: str) -> None:
        """Compare the counter with power until that says what it includes, again after each load of the driver."""
        before = self.meter
        if before is not None and (before.boot_id, before.driver_epoch) != (boot_id, self.info.driver_epoch):
            self._scope, self._scopes = CounterScope.UNKNOWN, None
        if self._scope is CounterScope.UNKNOWN and sample.energy_mj is not None:
            self._scopes = self._scopes or ScopeMeter(self.sensor.gap_ns)
            self._scopes.feed(sample)
            self._scope = self._scopes.scope

    @property
    def blind(self) -> bool:
        """The sensor is stuck, and nothing can be recorded until it moves again."""
        return self.meter is not None and self.meter.blind_ns > 0

    @property
    def held_by(self) -> Collection[str]:
        """The workloads that are known to hold it."""
        return self.owners.holding.weights if self.owners.holding is not None else ()

    @property
    def booked_to(self) -> Collection[str]:
        """The workloads that held it at the last recorded edge."""
        return self.held_before.weights if self.held_before is not None else ()

    def _judge(self, sample: DeviceSample) -> None:
        """Update the device's shape and its applied sharing policy after its owners were read again."""
        self._judged = self.owners
        holding, mig = self.owners.holding, sample.mig
        if sample.processes is not None or mig is not None:
            self._shape = WHOLE if not mig else Shape(_with_activity(mig, self._shape.mig), self._base_mw())
        if holding is None:
            self.policy = ""
            return
        policy = policy_for(known_of(holding, self._shape))
        self.policy = "" if policy is None or not (holding.weights or None in holding.slices.values()) else policy.name

    def _measured(self, sample: DeviceSample) -> bool:
        """Whether who used it was measured up to this reading."""
        asked = sample.processes is not None or sample.mig is not None
        return asked and all(device.active_ppm is not None for device in sample.mig or ())

    def _base_mw(self) -> int:
        limit_mw = self.info.power_limit_default_mw or self.info.power_limit_max_mw
        return self._resting.power_mw(limit_mw or GPU_LIMIT_UNKNOWN_MW)

    def _see_rest(self, interval: Interval) -> None:
        lasted_ns = interval.end_ns - interval.start_ns
        if self._shape.mig and interval.method is Method.COUNTER and lasted_ns >= RESTING_LEAST_NS:
            self._resting.learn(interval.energy_uj, lasted_ns)

    def _last_percent(self) -> int | None:
        return self.sample.gpu_percent if self.sample is not None else None

    def _remember(self, sample: DeviceSample) -> None:
        """A fast reading brings energy and power alone: the rest stays that of the last full one."""
        if self.sample is None or not sample.fast:
            self.sample = sample
            return
        self.sample = replace(
            self.sample, t_ns=sample.t_ns, boot_ns=sample.boot_ns, energy_mj=sample.energy_mj, power_mw=sample.power_mw
        )

    def count_events(self, sample: DeviceSample) -> None:
        """Count XID events, and the time in which the driver named each reason for lowering clocks."""
        if sample.event_reasons is not None:
            before_ns, self._events_boot_ns = self._events_boot_ns, sample.boot_ns
            elapsed = max(0, min(sample.boot_ns - before_ns, self.sensor.gap_ns)) if before_ns is not None else 0
            if not self.event_ns:
                self.event_ns = dict.fromkeys(EVENT_REASONS.values(), 0)  # an unset one appears at 0
            for name in _reasons(sample.event_reasons):  # sampled: taken to have held since the last reading
                self.event_ns[name] = self.event_ns.get(name, 0) + elapsed
        for code, count in (sample.xid_counts or {}).items():
            self.xid[code] = self.xid.get(code, 0) + count

    @property
    def anchor(self) -> Anchor:
        """The last recorded edge, for `go_back`."""
        return self.meter, self.held_before, self._shape_before

    def go_back(self, anchor: Anchor) -> None:
        """Forget what was read after an edge: the next reading closes the time from there on."""
        self.meter, self.held_before, self._shape_before = anchor
        self._settlement.forget()

    def step_back(self, text: str) -> None:
        """Forget what was recorded since `dump` gave `text`: the next reading closes the time from there on.

        Raises:
            ValueError: the text is not ours; nothing has changed.
        """
        then = DeviceAccount.restore(text, self.dump_info(), lambda _: self.sensor)
        self.go_back((then.meter, then.held_before, self._shape_before))

    def dump(self) -> str:
        """The part that survives and changes, as JSON."""
        owners = None if self.held_before is None else sorted(self.held_before.weights)
        meter = None if self.meter is None else dict(zip(MeterState.__slots__, _meter(self.meter), strict=True))
        return _encode(
            {"meter": meter, "held": owners, "event_ns": self.event_ns, "xid": sorted(self.xid.items()), "scope": self._scope}
        )

    def dump_info(self) -> str:
        """What the device is, as JSON: it changes with the driver alone."""
        return _encode({name: getattr(self.info, name) for name in DeviceInfo.__slots__})

    @classmethod
    def restore(cls, text: str, info_text: str, sensor_for: Callable[[DeviceInfo], SensorLimits]) -> "DeviceAccount":
        """An account as it was at the last commit.

        Raises:
            ValueError: the texts are not ours.
        """
        try:
            body = json.loads(text)
            info = DeviceInfo(**read_fields(DeviceInfo, json.loads(info_text)))
            meter = MeterState(**read_fields(MeterState, body["meter"])) if body["meter"] is not None else None
            holding = None if body["held"] is None else Holding(dict.fromkeys(map(_name, body["held"]), 0))
            event_ns = {_name(reason): int(lasted_ns) for reason, lasted_ns in body["event_ns"].items()}
            account = cls(info, sensor_for(info), meter, held_before=holding, event_ns=event_ns)
            if account.event_ns:  # a reason that this version knows and the writer did not
                account.event_ns = dict.fromkeys(EVENT_REASONS.values(), 0) | account.event_ns
            account.xid = {int(code): int(count) for code, count in body["xid"]}
            account._scope = CounterScope(body["scope"])
        except UNREADABLE as error:
            raise ValueError(f"not a device state: {error!r}") from error
        return account


@lru_cache(maxsize=256)
def _reasons(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in EVENT_REASONS.items() if bits & bit)


def _same(before: Holding | None, after: Holding | None) -> bool:
    return before is not None and after is not None and before.weights.keys() == after.weights.keys()


def _with_activity(mig: tuple[MigUse, ...], before: tuple[MigUse, ...]) -> tuple[MigUse, ...]:
    """Where activity was not measured this time, that of the last time it was."""
    last = {device.uuid: device.active_ppm for device in before}
    return tuple(d if d.active_ppm is not None else replace(d, active_ppm=last.get(d.uuid)) for d in mig)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a name")
    return value
