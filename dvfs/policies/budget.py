"""Policy `budget`: divides one power budget among the GPUs of the node so that each watt gives the most progress.

The power that they draw stays within the budget, not the sum of their limits. A GPU counts with its limit, but one that draws
less than its lowest limit, such as a free one, counts with what it draws. One reserve covers what a free GPU may add at once:
the largest difference among them. Power that work needs comes before the reserve. Raised limits wait until lowered ones are
applied. A group's relative progress is taken as
    r(P) = sqrt((P - p0) / (D - p0))   for P up to its demand D
with static power p0. The exponent is from 0.3 of memory-bound work to 1 of work capped below the voltage's knee. One for all is
as good on measured jobs as that of each job. The sum of n r(P) over
groups of n devices is largest where r / (P - p0) is equal for all that are neither at their least nor at their demand
(Lagrange); the rest goes to all, by room.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from dvfs.policies._options import checked
from dvfs.types import DeviceObservation, Mode, NodeBudget, NodePolicy, Observation
from energy_agent.core.errors import UsageError

_NS = 1_000_000_000
STATIC_SHARE = 0.2  # of the highest limit
HEADROOM = 1.05  # of limits over demand, where the budget permits it
_BINDING = 0.96  # of its limit: a device that draws more may want more
_BINDING_REASONS = 0x4 | 0x8 | 0x80  # NVML: the limit or a power brake holds the clock
# Demand beyond a limit that binds: where nothing is known, and near the power that it drew without a limit.
_RISE, _RISE_KNOWN, _PROBE = 1.5, 1.1, 1.02
_KNOWN, _SAME = 0.9, 0.99  # of a limit: power near it, and at it
_STEP_MW = 5000  # smaller changes are not made without need
_WINDOW_NS = 30 * _NS
_NOW = 3  # readings
_RELEASE_NS = 3 * _NS  # until a reading shows the original limit again


class DrawnPower(NamedTuple):
    """Power in mW by boot time. `is_held`: a limit holds the clock; `is_bound`: and its power is at its own limit."""

    boot_ns: int
    power_mw: int
    is_held: bool
    is_bound: bool


@dataclass(frozen=True, slots=True)
class RecentPower:
    """What a device drew lately, mW and boot ns.

    Args:
        readings: of the last half minute.
        known_mw: its power when no limit held it last.
        original_mw: its limit when the budget did not limit it.
        limited_ns: when the budget last limited it.
    """

    readings: tuple[DrawnPower, ...] = ()
    known_mw: int = 0
    original_mw: int | None = None
    limited_ns: int | None = None

    def add(self, device: DeviceObservation, now: int, *, is_limited: bool) -> "RecentPower":
        """With the readings of a round."""
        limit, power, readings = device.power_limit_mw, device.power_mw, self.readings
        if power is not None:
            highest = device.power_range_mw[1] if device.power_range_mw is not None else 0
            is_lowered = limit is not None and limit < highest
            is_near = limit is not None and is_lowered and power >= _BINDING * limit
            is_held = is_near if device.event_reasons is None else is_lowered and bool(device.event_reasons & _BINDING_REASONS)
            readings = (*readings, DrawnPower(device.boot_ns, power, is_held, is_held and is_near))
        readings = tuple(reading for reading in readings if now - reading.boot_ns <= _WINDOW_NS)
        # A pause does not make it unknown: what is held draws at least what it did before.
        floor = self.known_mw if any(reading.is_held for reading in readings) else 0
        unlimited_mw = max([floor, *(reading.power_mw for reading in readings if not reading.is_held)])
        if is_limited:
            return RecentPower(readings, unlimited_mw, self.original_mw, now)
        is_restored = self.limited_ns is None or now - self.limited_ns > _RELEASE_NS
        original = limit if is_restored else max(limit or 0, self.original_mw or 0) or None
        return RecentPower(readings, unlimited_mw, original, self.limited_ns)

    @property
    def drawn_mw(self) -> int:
        """The highest power."""
        return max(reading.power_mw for reading in self.readings)

    def demand_mw(self, limit_mw: int) -> tuple[float, float, bool]:
        """Power that it would draw without a limit, the part of it that is certain, and whether that is more than the limit."""
        free = max((reading.power_mw for reading in self.readings if not reading.is_held), default=0)
        if free >= _SAME * limit_mw or not all(reading.is_bound for reading in self.readings[-2:]):
            return self.drawn_mw, self.drawn_mw, False
        if self.known_mw < _KNOWN * limit_mw:
            return _RISE * limit_mw, limit_mw, True
        if limit_mw > self.known_mw / _SAME:  # it has grown
            return _RISE_KNOWN * limit_mw, limit_mw, True
        return max(self.known_mw, _PROBE * limit_mw), self.known_mw, True


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The limits last requested and recent power, by device."""

    limits_mw: Mapping[str, int] = field(default_factory=dict)
    recent: Mapping[str, RecentPower] = field(default_factory=dict)
    next_ns: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Possible share of a group for each device, in mW: from `least` to `most`, useful up to `demand`."""

    group: str
    devices: tuple[str, ...]
    least: float
    most: float
    demand: float
    static: float
    unlimited: float = 0.0  # of `demand`, what was seen without a limit
    unused: tuple[float, ...] = ()  # of each device: by how much it draws less than `least`
    is_free: bool = False  # no process has it
    is_bound: bool = False  # it would draw more than its limit

    def at(self, price: float) -> float:
        """The power at which another watt brings `price` of progress: 1 / (2 sqrt((P - p0) (D - p0))) = price."""
        if self.demand <= self.least:
            return self.least
        power = self.static + 1 / (4 * price**2 * (self.demand - self.static))
        return min(max(power, self.least), self.demand)


def split(shares: Sequence[Share], budget_mw: float) -> dict[str, float]:
    """Power for each device of each group. The sum is at most the budget, where the least of all allows it."""

    def total(powers: Mapping[str, float]) -> float:
        return math.fsum(powers[s.group] * len(s.devices) for s in shares)

    low, high = 1e-12, 1.0
    for _ in range(100):
        price = math.sqrt(low * high)
        if total({s.group: s.at(price) for s in shares}) > budget_mw:
            low = price
        else:
            high = price
    powers = {s.group: s.at(high) for s in shares}
    spare_mw = budget_mw - total(powers)
    room = math.fsum((s.most - powers[s.group]) * len(s.devices) for s in shares)
    part = min(1.0, max(0.0, spare_mw) / room) if room > 0 else 0.0
    return {s.group: powers[s.group] + part * (s.most - powers[s.group]) for s in shares}


def decide(
    observations: Sequence[Observation], state: BudgetState, *, budget_mw: int, every_ns: int
) -> tuple[Mapping[str, int], BudgetState]:
    """The limits of all devices that have to be limited, divided again every so often, and at once where it matters."""
    now = max((o.boot_ns for o in observations), default=0)
    devices = [device for o in observations for device in o.devices]
    recent = {
        d.uuid: state.recent.get(d.uuid, RecentPower()).add(d, now, is_limited=d.uuid in state.limits_mw) for d in devices
    }
    shares = [s for o in observations if o.terms.mode is Mode.ENFORCE and (s := _share(o, recent)) is not None]
    most = {uuid: int(share.most) for share in shares for uuid in share.devices}
    # Devices that are not steered may draw up to their limit.
    room = budget_mw - sum(can_draw_mw(d, recent[d.uuid]) for d in devices if d.uuid not in most)
    powers = _divide(shares, room)
    target = {uuid: int(powers[share.group]) // 1000 * 1000 for share in shares for uuid in share.devices}
    limits, next_ns, old = state.limits_mw, state.next_ns, state.limits_mw
    is_exceeded = sum(old.get(u, 0) for u in most) - math.fsum(w for s in shares for w in s.unused) > room
    is_short = any(s.is_bound and target[u] - old.get(u, 0) >= _STEP_MW for s in shares for u in s.devices)
    is_other = any(abs(limit - old.get(uuid, 0)) >= _STEP_MW for uuid, limit in target.items())
    if most.keys() != old.keys() or is_exceeded or is_short or (is_other and now >= next_ns):
        limits, waiting = _in_order(target, observations, old)
        next_ns = now if waiting else now + every_ns
    capped = {uuid: limit for uuid, limit in limits.items() if limit < most[uuid] // 1000 * 1000}
    return capped, BudgetState(limits, recent, next_ns)


def can_draw_mw(device: DeviceObservation, recent: RecentPower) -> int:
    """What a device that is not limited by the budget can draw: its limit, also where it is just being restored."""
    highest = device.power_range_mw[1] if device.power_range_mw is not None else 0
    return recent.original_mw or device.power_limit_mw or highest


def _divide(shares: Sequence[Share], room_mw: float) -> dict[str, float]:
    """Power for each device of each group, so that all together draw at most `room_mw`."""
    room_mw += math.fsum(unused for s in shares for unused in s.unused)
    reserve = math.fsum(unused for s in shares if not s.is_free for unused in s.unused)
    reserve += max((unused for s in shares if s.is_free for unused in s.unused), default=0.0)
    needs = math.fsum(max(s.demand, s.least) * len(s.devices) for s in shares)
    unlimited_mw = math.fsum(max(s.unlimited, s.least) * len(s.devices) for s in shares)
    headroom = min(max(1.0, room_mw / needs), HEADROOM) if needs else 1.0
    # A limit that binds is lifted where that is possible; else all get headroom, as far as there is any.
    lifted = [replace(s, demand=s.most) if s.is_bound else s for s in shares]
    if math.fsum(max(s.demand, s.least) * len(s.devices) for s in lifted) <= room_mw - reserve:
        shares = lifted
    elif (gap := room_mw - headroom * unlimited_mw) < 0:
        reserve = min(reserve, -gap)  # it gives way to needs, except where they exceed the budget far enough for it
    else:
        reserve = 0.0 if any(s.is_bound for s in shares) else min(reserve, gap)
    shares = [replace(s, demand=min(headroom * s.demand, s.most)) for s in shares]
    return split(shares, room_mw - reserve)


def _in_order(
    target: Mapping[str, int], observations: Sequence[Observation], requested: Mapping[str, int]
) -> tuple[dict[str, int], bool]:
    """Limits to request now, and whether some wait: none rises before all lowered ones are applied."""
    now = {d.uuid: d.power_limit_mw for o in observations for d in o.devices}
    # A small rise is not worth a write; a fall, however small, is owed to the sum.
    settled = {
        u: requested[u] if u in requested and 0 < limit - requested[u] < _STEP_MW else limit for u, limit in target.items()
    }
    falling = any((limit := now.get(uuid)) is None or limit > wanted for uuid, wanted in settled.items())
    limits = {uuid: min(wanted, requested.get(uuid, wanted)) if falling else wanted for uuid, wanted in settled.items()}
    return limits, limits != settled


def _share(observation: Observation, recent: Mapping[str, RecentPower]) -> Share | None:
    devices = observation.devices
    ranges = [d.power_range_mw for d in devices if d.power_range_mw is not None]
    powers, is_free = [recent[d.uuid] for d in devices], not observation.owner
    if is_free:  # nothing resumes on it
        powers = [replace(power, readings=power.readings[-_NOW:]) for power in powers]
    if not devices or len(ranges) < len(devices) or any(len(p.readings) < (1 if is_free else _NOW) for p in powers):
        return None
    least = max(low for low, _ in ranges)
    most = min(high for _, high in ranges)
    static = STATIC_SHARE * most
    demand, unlimited_mw, is_bound = max(p.demand_mw(d.power_limit_mw or 0) for p, d in zip(powers, devices, strict=True))
    return Share(
        observation.group,
        tuple(d.uuid for d in devices),
        least,
        max(least, most),
        min(demand, most),
        min(static, 0.9 * least),
        min(unlimited_mw, most),
        tuple(max(0.0, least - p.drawn_mw) for p in powers),
        is_free,
        is_bound,
    )


def configure(options: Mapping[str, object], budget_w: float) -> NodeBudget:
    """The node's budget policy.

    Raises:
        UsageError: an unknown option, or no budget.
    """
    values = checked("budget", options, {"every_s": 10.0})
    if not budget_w > 0:
        raise UsageError("dvfs policy budget: budget_w: expected a number above 0")
    every_ns = int(values["every_s"] * _NS)
    budget_mw = round(budget_w * 1000)
    return NodeBudget(budget_mw, BudgetState, partial(decide, budget_mw=budget_mw, every_ns=every_ns))


SPEC = NodePolicy(
    summary="node: divide one power budget among all GPUs by marginal progress per watt",
    options={"every_s": "seconds between divisions of the budget (default 10)"},
    configure=configure,
)
