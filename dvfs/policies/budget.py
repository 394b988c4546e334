"""Policy `budget`: divides one power budget among the GPUs of the node so that each watt gives the most progress.

The limits of all devices never add up to more than the budget: raised limits wait until lowered ones are applied. A
group's relative progress is taken as
    r(P) = sqrt((P - p0) / (D - p0))   for P up to its demand D
with static power p0. The exponent is from 0.3 of memory-bound work to 1 of work capped below the voltage's knee. One for all is
as good on measured jobs as that of each job (`python -m benchmarks dvfs_baselines --part budget`). The sum of n r(P) over
groups of n devices is largest where r / (P - p0) is equal for all that are neither at their least nor at their demand
(Lagrange); the rest goes to all, by room.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dvfs.policies._options import checked
from dvfs.types import Mode, NodeBudget, NodePolicy, Observation
from energy_agent.core.errors import UsageError

_NS = 1_000_000_000
STATIC_SHARE = 0.2  # of the highest limit
HEADROOM = 1.08  # of demand over the highest power seen
_BINDING = 0.96  # of its limit: a device that draws more would like to
_RISE = 1.15  # demand beyond a limit that binds
_STEP_MW = 5000  # smaller rises are not made
_WINDOW_NS = 30 * _NS


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The limits last requested per device, in mW, and what each group drew lately."""

    limits_mw: Mapping[str, int] = field(default_factory=dict)
    drawn: Mapping[str, "RecentPower"] = field(default_factory=dict)
    next_ns: int = 0


@dataclass(frozen=True, slots=True)
class RecentPower:
    """Power of the hungriest device of a group under its present limit, in mW by boot time. `limit_mw` None: not limited."""

    limit_mw: int | None = None
    readings: tuple[tuple[int, int], ...] = ()

    def add(self, observation: Observation, limits_mw: Mapping[str, int]) -> "RecentPower":
        """With the readings of a round; those under another limit and old ones are dropped, so that none is stale."""
        now, powers = observation.boot_ns, [d.power_mw for d in observation.devices if d.power_mw is not None]
        limit = min((limits_mw[d.uuid] for d in observation.devices if d.uuid in limits_mw), default=None)
        recent = tuple(reading for reading in self.readings if now - reading[0] <= _WINDOW_NS)
        if not powers:
            return RecentPower(self.limit_mw, recent)
        return RecentPower(limit, (*(recent if limit == self.limit_mw else ()), (now, max(powers))))

    def demand_mw(self) -> float:
        """Power that it would draw without a limit."""
        seen = max(power for _, power in self.readings)
        return _RISE * self.limit_mw if self.limit_mw is not None and seen >= _BINDING * self.limit_mw else HEADROOM * seen


@dataclass(frozen=True, slots=True)
class Share:
    """Possible share of a group for each device, in mW: from `least` to `most`, useful up to `demand`."""

    group: str
    devices: tuple[str, ...]
    least: float
    most: float
    demand: float
    static: float

    def at(self, price: float) -> float:
        """The power at which another watt brings `price` of progress: 1 / (2 sqrt((P - p0) (D - p0))) = price."""
        power = self.static + 1 / (4 * price**2 * (self.demand - self.static))
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
    drawn = {o.group: state.drawn.get(o.group, RecentPower()).add(o, state.limits_mw) for o in observations}
    state = replace(state, drawn=drawn)
    shares = [s for o in observations if o.terms.mode is Mode.ENFORCE and (s := _share(o, drawn[o.group])) is not None]
    steered = {uuid for share in shares for uuid in share.devices}
    if steered == state.limits_mw.keys() and now < state.next_ns:
        return state.limits_mw, state
    # Devices that are not steered may draw up to their limit.
    fixed = sum(d.power_limit_mw or 0 for o in observations for d in o.devices if d.uuid not in steered)
    powers = split(shares, budget_mw - fixed)
    target = {uuid: int(powers[share.group]) // 1000 * 1000 for share in shares for uuid in share.devices}
    limits, waiting = _in_order(target, observations, state.limits_mw)
    return limits, replace(state, limits_mw=limits, next_ns=now if waiting else now + every_ns)


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


def _share(observation: Observation, drawn: RecentPower) -> Share | None:
    ranges = [d.power_range_mw for d in observation.devices]
    if not ranges or None in ranges or not drawn.readings:
        return None
    least = max(r[0] for r in ranges if r is not None)
    most = min(r[1] for r in ranges if r is not None)
    static = STATIC_SHARE * most
    demand = min(max(drawn.demand_mw(), least, 1.2 * static), most)
    return Share(observation.group, tuple(d.uuid for d in observation.devices), least, most, demand, min(static, 0.9 * least))


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
