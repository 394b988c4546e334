"""Policy `budget`: divides one power budget among the GPUs of the node so that each watt gives the most progress.

The limits of all devices never add up to more than the budget: raised limits wait until lowered ones are applied. A
group's relative progress is taken as
    r(P) = ((P - p0) / (D - p0))^k   for P up to its demand D
with static power p0. k is learned from how power and progress moved together when limits changed, from a prior of 0.5 (from 0.3
of memory-bound work to 1 of work capped below the voltage's knee). The sum of n r(P) over groups of n devices is largest where
k r / (P - p0) is equal for all that are neither at their least nor at their demand (Lagrange); the rest goes to all, by room.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dvfs.policies._options import checked
from dvfs.types import Mode, NodeBudget, NodePolicy, Observation
from energy_agent.core.errors import UsageError

_NS = 1_000_000_000
_STATIC_SHARE = 0.2  # of the highest limit
_PRIOR_K, _PRIOR_SD, _NOISE_SD = 0.5, 0.2, 0.03
_LEAST_K, _MOST_K = 0.1, 0.95
_HEADROOM = 1.08  # of demand over the highest power seen
_BINDING = 0.96  # of its limit: a device that draws more would like to
_RISE = 1.15  # demand beyond a limit that binds
_SURE = 20 / _PRIOR_SD**2  # precision from which on k is tried no more
_TRIAL = 0.08  # of a group's power
_STEP_MW = 5000  # smaller rises are not made
_WINDOW_NS = 30 * _NS


@dataclass(frozen=True, slots=True)
class GroupElasticity:
    """One group: recent power of its hungriest device, elasticity k, and the last interval of equal limits."""

    powers: tuple[tuple[int, int], ...] = ()  # (boot ns, mW)
    k_precision: float = 1 / _PRIOR_SD**2
    k_weighted: float = _PRIOR_K / _PRIOR_SD**2
    since_ns: int = 0
    work: float = 0.0
    energy_uj: int = 0
    limit_mw: int | None = None
    before: tuple[float, float] | None = None  # work per s and power in W of the previous interval

    @property
    def k(self) -> float:
        """The current estimate of the elasticity."""
        return min(max(self.k_weighted / self.k_precision, _LEAST_K), _MOST_K)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The limits last requested per device, in mW, and the elasticity of each group."""

    limits_mw: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, GroupElasticity] = field(default_factory=dict)
    next_ns: int = 0
    splits: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Possible share of a group for each device, in mW: from `least` to `most`, useful up to `demand`."""

    group: str
    devices: tuple[str, ...]
    least: float
    most: float
    demand: float
    static: float
    k: float

    def at(self, price: float) -> float:
        """The power at which another watt brings `price` of progress: k (P - p0)^(k-1) / (D - p0)^k = price."""
        room = self.demand - self.static
        power = self.static + math.pow(self.k / (price * math.pow(room, self.k)), 1 / (1 - self.k))
        return min(max(power, self.least), max(self.demand, self.least))


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
    left = budget_mw - total(powers)
    room = math.fsum((s.most - powers[s.group]) * len(s.devices) for s in shares)
    part = min(1.0, max(0.0, left) / room) if room > 0 else 0.0
    return {s.group: powers[s.group] + part * (s.most - powers[s.group]) for s in shares}


def decide(
    observations: Sequence[Observation], state: BudgetState, *, budget_mw: int, every_ns: int
) -> tuple[Mapping[str, int], BudgetState]:
    """The limits of all devices that may be steered, divided again every so often."""
    now = max((o.boot_ns for o in observations), default=0)
    groups = {
        o.group: _update_elasticity(o, state.groups.get(o.group, GroupElasticity()), state.limits_mw) for o in observations
    }
    shares = [s for o in observations if o.terms.mode is Mode.ENFORCE and (s := _share(o, groups[o.group])) is not None]
    state = replace(state, groups=groups)
    steered = {uuid for share in shares for uuid in share.devices}
    if steered == state.limits_mw.keys() and now < state.next_ns:
        return state.limits_mw, state
    # Devices that are not steered may draw up to their limit.
    fixed = sum(d.power_limit_mw or 0 for o in observations for d in o.devices if d.uuid not in steered)
    powers = _tried(split(shares, budget_mw - fixed), shares, groups, state.splits)
    target = {uuid: int(powers[share.group]) // 1000 * 1000 for share in shares for uuid in share.devices}
    limits, waiting = _in_order(target, observations, state.limits_mw)
    if waiting:
        return limits, replace(state, limits_mw=limits, next_ns=now)
    return limits, replace(state, limits_mw=limits, next_ns=now + every_ns, splits=state.splits + 1)


def _tried(
    powers: Mapping[str, float], shares: Sequence[Share], groups: Mapping[str, GroupElasticity], splits: int
) -> Mapping[str, float]:
    """Set one group after another slightly below its share: the value of a watt shows only when power changes."""
    unsure = [s for s in shares if groups[s.group].k_precision < _SURE and powers[s.group] < s.demand]
    if len(shares) < 2 or not unsure or splits % 2:
        return powers
    one = unsure[splits // 2 % len(unsure)]
    return {**powers, one.group: max(one.least, (1 - _TRIAL) * powers[one.group])}


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
    held = {uuid: min(wanted, requested.get(uuid, wanted)) if falling else wanted for uuid, wanted in settled.items()}
    return held, held != settled


def _share(observation: Observation, known: GroupElasticity) -> Share | None:
    ranges = [d.power_range_mw for d in observation.devices]
    if not ranges or None in ranges or not known.powers:
        return None
    least = max(r[0] for r in ranges if r is not None)
    most = min(r[1] for r in ranges if r is not None)
    seen = max(power for _, power in known.powers)
    limit = known.limit_mw
    binds = limit is not None and seen >= _BINDING * limit
    demand = _RISE * limit if binds and limit is not None else _HEADROOM * seen
    static = _STATIC_SHARE * most
    demand = min(max(demand, least, 1.2 * static), most)
    return Share(
        observation.group, tuple(d.uuid for d in observation.devices), least, most, demand, min(static, 0.9 * least), known.k
    )


def _update_elasticity(observation: Observation, known: GroupElasticity, requested: Mapping[str, int]) -> GroupElasticity:
    """Add a round's readings; each interval of equal limits that ends shows how progress follows power."""
    now = observation.boot_ns
    powers = [d.power_mw for d in observation.devices if d.power_mw is not None]
    seen = tuple(p for p in known.powers if now - p[0] <= _WINDOW_NS)
    known = replace(known, powers=(*seen, (now, max(powers))) if powers else seen)
    limit = min((requested[d.uuid] for d in observation.devices if d.uuid in requested), default=None)
    progress = observation.progress
    work = progress.work if progress is not None else None
    energy = sum(d.energy_uj or 0 for d in observation.devices)
    if work is None or limit is None:
        return replace(known, limit_mw=limit, since_ns=0, before=None)
    if limit == known.limit_mw and known.since_ns:
        return known
    before = known.before
    seconds = (now - known.since_ns) / _NS
    if known.since_ns and seconds >= 5 and work > known.work and energy > known.energy_uj:
        interval = ((work - known.work) / seconds, (energy - known.energy_uj) / 1e6 / seconds)
        known = _elastic(known, interval, len(observation.devices), observation)
        before = interval
    return replace(known, limit_mw=limit, since_ns=now, work=work, energy_uj=energy, before=before, powers=known.powers[-1:])


def _elastic(known: GroupElasticity, interval: tuple[float, float], count: int, observation: Observation) -> GroupElasticity:
    """Least squares of log progress on log dynamic power, one pair of intervals at a time."""
    if known.before is None:
        return known
    tops = [d.power_range_mw[1] for d in observation.devices if d.power_range_mw is not None]
    static_w = _STATIC_SHARE * min(tops, default=0) / 1000 * count
    rates, watts = (known.before[0], interval[0]), (known.before[1] - static_w, interval[1] - static_w)
    if min(*rates, *watts) <= 0:
        return known
    x, y = math.log(watts[1] / watts[0]), math.log(rates[1] / rates[0])
    weight = x**2 / (2 * _NOISE_SD**2)
    if weight < 1:
        return known
    return replace(known, k_precision=known.k_precision + weight, k_weighted=known.k_weighted + weight * (y / x))


def configure(options: Mapping[str, object], budget_w: float) -> NodeBudget:
    """The node's budget policy.

    Raises:
        UsageError: an unknown option, or no budget.
    """
    values = checked("budget", options, {"every_s": 10.0})
    if not budget_w > 0:
        raise UsageError("dvfs policy budget: budget_w: expected a number above 0")
    every_ns = int(values["every_s"] * _NS)
    return NodeBudget(BudgetState, partial(decide, budget_mw=round(budget_w * 1000), every_ns=every_ns))


SPEC = NodePolicy(
    summary="node: divide one power budget among all GPUs by marginal progress per watt",
    options={"every_s": "seconds between divisions of the budget (default 10)"},
    configure=configure,
)
