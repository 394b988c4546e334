"""Policy `slo`: serves with the least energy within limits on time to first token and inter-token latency.

Each round it learns how the server responds to its clock (`_response`) and which traffic arrives (`_traffic`). For each clock
between knee and maximum it estimates how many requests of the next second would miss a limit (`_risk`), and chooses the clock
with the lowest sum of power and price times misses in excess of those at the highest clock. The price keeps this excess within
a given share of requests: it rises when more misses are expected than permitted, falls when fewer are, and grows with the
misses so far (`_account`). A higher clock is applied at once; missing or stale metrics, thermal trouble, a restarted server and
an unknown GPU model release the lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp

from dvfs.knees import Knee, clock_grid, find
from dvfs.policies._options import Ranges, checked
from dvfs.policies._serving import QUEUE_GROWTH
from dvfs.policies._trouble import trouble
from dvfs.policies.slo._account import MissAccount, StepTimes, later_extra, steps_of
from dvfs.policies.slo._attainment import AttainmentWindow, judged
from dvfs.policies.slo._interval import ServerReading, ServingInterval, between, read
from dvfs.policies.slo._late import IntervalStart, expected_late_tokens
from dvfs.policies.slo._open import LatencyLimits, OpenPrompts, estimate_attainment, followed
from dvfs.policies.slo._promise import PredictedSaving
from dvfs.policies.slo._response import Clocks, ServerModel
from dvfs.policies.slo._risk import Outlook, outlook
from dvfs.policies.slo._traffic import Traffic
from dvfs.types import Action, Decision, DvfsPolicy, Observation, Prediction, Setting

_NS = 1_000_000_000

_POWER_CAP = 0x4
_STEPS_KEPT = 90
_PRICE = (0.0005, 0.015, 0.5)  # of all misses that may be, as share of the power limit: least, first, most
_PRICE_TAU_S = 300.0
_SPENT_MOST, _SPENT_POWER = 4.0, 2.0  # limit and exponent of the overspending factor on the price of misses

_SHORTEST_S = 0.05  # of an interval; an earlier reading counts as the same one
_LEAST_LIMIT_W = 10.0
_LEARN_REQUESTS, _LEARN_S = 5, 10.0
_PROMISE_S = 60.0


@dataclass(frozen=True, slots=True)
class SloOptions:
    """The knee table and the options of the slo policy."""

    knees: tuple[Knee, ...]
    levels: int
    give_ratio: float
    stale_ns: int


@dataclass(frozen=True, slots=True)
class SloState:
    """The state of one group. `level`: index of the applied clock in the grid; None: not set by this policy."""

    reading: ServerReading | None = None
    level: int | None = None
    traffic: Traffic = field(default_factory=Traffic)
    response: ServerModel = field(default_factory=ServerModel)
    open: OpenPrompts = field(default_factory=OpenPrompts)
    steps: tuple[StepTimes, ...] = ()
    account: MissAccount = field(default_factory=MissAccount)
    price: float = _PRICE[1]
    window: AttainmentWindow = field(default_factory=AttainmentWindow)
    promise: PredictedSaving = field(default_factory=PredictedSaving)
    wanted: Mapping[str, Setting] = field(default_factory=dict)


def decide(observation: Observation, state: SloState, config: SloOptions) -> tuple[Decision, SloState]:
    """One round, see the module."""
    reason = _trouble(observation, config)
    progress = observation.progress
    reading = read(observation, progress, state.reading) if progress is not None and not reason else None
    if reason or reading is None or progress is None:
        return _release(state, reason or "missing_counters", None)
    before = state.reading
    if before is None:
        return _release(state, "learning", reading)
    if 0.0 <= reading.at_s - before.at_s < _SHORTEST_S:
        return Decision("hold", "same_reading"), state
    if reading.at_s - before.at_s > config.stale_ns / _NS:
        return _release(state, "gap", reading)
    interval = between(before, reading)
    if interval is None:
        return _release(SloState(level=state.level), "restarted", reading)
    clocks = _clocks(observation, config)
    state = _learnt(state, interval, observation, clocks, config)
    if state.traffic.requests < _LEARN_REQUESTS or state.traffic.seconds < _LEARN_S:
        return _release(state, "learning", reading)
    return _choose_clock(observation, replace(state, reading=reading), reading, interval, clocks, config)


def _trouble(observation: Observation, config: SloOptions) -> str:
    reason = trouble(observation, config.stale_ns)
    if reason:
        return reason
    knees = [find(config.knees, device.sku) for device in observation.devices]
    tops = [device.sm_clock_max_mhz for device in observation.devices]
    if any(top is None for top in tops):
        return "missing"
    if any(knee is None for knee in knees):
        return "unknown_sku"
    if max(knee.knee_mhz for knee in knees if knee) >= min(top for top in tops if top is not None):
        return "no_room"
    if observation.terms.ttft_s is None and observation.terms.itl_s is None:
        return "no_slo"
    return "" if observation.progress is not None else "no_progress"


def _release(state: SloState, reason: str, reading: ServerReading | None) -> tuple[Decision, SloState]:
    action: Action = "hold" if state.level is None else "release"
    return Decision(action, reason), replace(state, level=None, reading=reading, open=OpenPrompts(), steps=())


def _clocks(observation: Observation, config: SloOptions) -> Clocks:
    """The grid of the group: from the highest knee to the lowest maximum of its devices."""
    low = max(k.knee_mhz for d in observation.devices if (k := find(config.knees, d.sku)))
    high = min(d.sm_clock_max_mhz or 0 for d in observation.devices)
    limits = [d.power_limit_mw or (d.power_range_mw[1] if d.power_range_mw else 400_000) for d in observation.devices]
    return Clocks(clock_grid(low, high, config.levels), max(_LEAST_LIMIT_W, sum(limits) / 1e3))


def _lock(observation: Observation, clocks: Clocks) -> int:
    """The lowest applied clock lock of any origin; a device without a lock had the highest clock."""
    top, low = clocks.grid_mhz[-1], clocks.grid_mhz[0]
    locks = [observation.in_force.get(d.uuid, Setting()).sm_clock_max_mhz or top for d in observation.devices]
    return max(low // 2, min(top, *locks))


def _learnt(
    state: SloState, interval: ServingInterval, observation: Observation, clocks: Clocks, config: SloOptions
) -> SloState:
    grid_mhz, terms, now = clocks.grid_mhz, observation.terms, state.open
    lock = _lock(observation, clocks)
    limits = LatencyLimits(terms.ttft_s, terms.itl_s)
    clock = max(grid_mhz[0] // 2, min(d.sm_clock_mhz or 0 for d in observation.devices))
    limited = any((d.event_reasons or 0) & _POWER_CAP for d in observation.devices)
    response = state.response.add_interval(interval, clocks, lock, clock, limited, now.done_s + interval.seconds / 2)
    traffic, batch = state.traffic.add_interval(interval), interval.decoding
    x, top = response.slow(clocks, lock), response.slow(clocks, grid_mhz[-1])
    steps = state.steps
    if interval.gap_s:
        steps = (*steps[-_STEPS_KEPT + 1 :], steps_of(interval, interval.gap_s, response, x, top, now.done_s))
    later = 0.0
    typical = traffic.typical
    before = IntervalStart(
        state.traffic.ages(interval.before.at_s),
        now.late_s,
        response.speed(x, top, typical, batch),
        response.start_s,
        lambda prompt: response.first_s(top, prompt, batch),
        traffic.ordered or (typical,),
        traffic.clustering,
    )
    first = expected_late_tokens(interval, limits, before)
    if terms.itl_s is not None and interval.requests:
        later = later_extra(steps, traffic.answer, terms.itl_s, interval.requests, now.quiet)
    traffic = traffic.meeting(interval.seconds, *estimate_attainment(interval, traffic, response, (x, top), now.fresh, batch))
    window, price = _judged(state, interval, observation, traffic, limits)
    return replace(
        state,
        window=window,
        price=price,
        account=state.account.came(interval.seconds, interval.before.pending, interval.first_tokens, first, later),
        response=response,
        traffic=traffic,
        steps=steps,
        open=followed(now, interval, response, traffic, x, top),
    )


def _judged(
    state: SloState, interval: ServingInterval, observation: Observation, traffic: Traffic, limits: LatencyLimits
) -> tuple[AttainmentWindow, float]:
    """The window of judgement, and the price, which rises where the window proves that the SLO is missed."""
    if observation.progress is None or observation.progress.ttft is None or limits.ttft_s is None:
        return state.window, state.price
    ratio = observation.terms.attainment_ratio
    window = judged(state.window, interval.after.at_s, observation.progress.ttft, limits.ttft_s, ratio)
    proven = window.since_s != state.window.since_s and window.verdict == "missed"
    # With long prompts, the histogram does not show which requests missed their own limits.
    if proven:
        return window, min(_PRICE[2], state.price * 1.5)
    return window, state.price


def _choose_clock(
    observation: Observation,
    state: SloState,
    reading: ServerReading,
    interval: ServingInterval,
    clocks: Clocks,
    config: SloOptions,
) -> tuple[Decision, SloState]:
    terms = observation.terms
    top = len(clocks.grid_mhz) - 1
    level = top if state.level is None else min(state.level, top)
    limits = LatencyLimits(terms.ttft_s, terms.itl_s)
    ahead = outlook(reading, state.traffic, state.response, clocks, limits, state.open, state.steps, level)
    given = config.give_ratio * max(0.02, state.traffic.mean_rate)
    spent = min(_SPENT_MOST, max(1.0 / _SPENT_MOST, state.account.spent_ratio(config.give_ratio)))
    price_j = state.price * clocks.limit_w / given * spent**_SPENT_POWER
    best = ahead[top]
    first_bias, later_bias = state.account.bias(reading.pending)

    def extra(one: Outlook) -> float:
        return first_bias * max(0.0, one.first - best.first) + later_bias * max(0.0, one.later - best.later)

    lowest = level if interval.before.pending and reading.pending else 0  # not down while a prompt is being computed
    crowded = reading.queue - interval.before.queue >= QUEUE_GROWTH
    allowed = [i for i, one in enumerate(ahead) if i == top or (i >= lowest and not one.late and not crowded)]
    new = min(allowed, key=lambda i: ahead[i].watts + price_j * extra(ahead[i]))
    step = (extra(ahead[new]) - given) / given * interval.seconds / _PRICE_TAU_S
    price = min(_PRICE[2], max(_PRICE[0], state.price * exp(max(-0.05, min(0.2, step)))))
    account = state.account.reckoned(
        reading.pending, max(0.0, ahead[new].first - best.first), max(0.0, ahead[new].later - best.later)
    )
    promise = state.promise if observation.enforced else state.promise.add_interval(interval, state.response, clocks, top, new)
    state = replace(state, price=price, account=account, promise=promise)
    reason = "queue" if crowded else _reason(ahead, new, top)
    if new == top:
        return Decision("hold" if state.level is None else "release", reason), replace(state, level=None, wanted={})
    if new == state.level:
        return Decision("hold", reason), state
    settings = {d.uuid: Setting(sm_clock_max_mhz=clocks.grid_mhz[new]) for d in observation.devices}
    return Decision("set", reason, settings), replace(state, level=new, wanted=settings)


def predict(state: SloState, _config: SloOptions) -> Prediction | None:
    """Expected saving of its decisions in shadow mode, where the server's response was not observed; None in the first
    minute.
    """
    if state.promise.seconds < _PROMISE_S:
        return None
    mean, std = state.promise.saving_ratio
    return Prediction(state.wanted, mean, mean - 1.96 * std, min(1.0, mean + 1.96 * std))


def _reason(ahead: Sequence[Outlook], new: int, top: int) -> str:
    """What keeps the clock from going lower."""
    if new == 0:
        return "knee"
    lower = ahead[new - 1]
    if lower.late:
        return "queue"
    first, later = lower.first - ahead[top].first, lower.later - ahead[top].later
    return "ttft" if first >= later else "itl"


_DEFAULTS: Mapping[str, float] = {"levels": 8, "give_percent": 0.25, "stale_s": 5.0}
_RANGES: Ranges = {"levels": (4, 10), "give_percent": (0.01, 50.0), "stale_s": (0.1, 3600.0)}


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> SloOptions:
    """Config from the user's options.

    Raises:
        UsageError: an unknown option or a value out of its range.
    """
    values = checked("slo", options, _DEFAULTS, _RANGES)
    give, stale_ns = values["give_percent"] / 100, int(values["stale_s"] * _NS)
    return SloOptions(tuple(knees), int(values["levels"]), give, stale_ns)


SPEC = DvfsPolicy(
    summary=(
        "serving: minimise energy with time to first token and time between tokens within the SLO; release on missing "
        "data, thermal limits or queue growth"
    ),
    options={
        "levels": "number of clocks from knee to maximum to choose from (default 8)",
        "give_percent": "percent of requests that may miss a limit in addition to those at the highest clock (default 0.25)",
        "stale_s": "age in seconds at which a reading counts as missing (default 5)",
    },
    configure=configure,
    start=SloState,
    decide=decide,
    kind="slo",
    predict=predict,
    serves=True,
)
