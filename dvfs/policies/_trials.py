"""Trials of a training job's settings, from counters read once per second: the live side of policies that search by trials.

`progress` and `limiter` share it: a search proposes a setting and a number of samples, this module applies the
setting, waits until it is applied, measures the samples and passes them to the search. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from dvfs.knees import Knee, find
from dvfs.policies._options import checked
from dvfs.policies._trouble import trouble
from dvfs.types import Decision, Observation, Prediction, Setting, Trial, Trials
from energy_agent.core.errors import UsageError

_NS = 1_000_000_000
_MW = 1000  # in a W
_CLOCK_STEP_MHZ, _POWER_STEP_W = 15, 5
_UNKNOWN_KNEE = 0.6  # of the highest clock: the knee of every known GPU is above it
_LOWEST_POWER = 0.4  # of the original limit
_SHADOW_SAMPLES = 25
_TRAINING = ("", "training")
_POWER_CAP = 0x4  # clock-event reason
_WATCHED = 30  # readings before a search over clocks starts: the power limit moves the clock by some percent
_STEPS_ABOVE = 2  # the mean of those readings is within this of the held clock
_LIMITED = 0.8  # share of them at the power limit, from which on it holds the clock
CLOCK, POWER = "sm_clock_mhz", "power_limit_w"


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options of a policy that searches by trials, with durations in ns."""

    knees: tuple[Knee, ...]
    knob: str  # clock | power
    grid: int  # how many settings to choose from
    sample_ns: int  # a sample is a step, or as many as fit into this
    settle_ns: int  # left out after a change
    stale_ns: int
    steps_below: int | None = None  # policy limiter: only clocks around the one held at the power limit, so many steps below
    slowdown: float | None = None  # in place of the workload's budget


@dataclass(frozen=True, slots=True)
class StepCounters:
    """The counters at the end of a step. `tokens`: trained until then; None: not reported."""

    steps: int
    tokens: int | None
    end_ns: int
    energy_uj: int
    energy_ns: int
    is_training: bool


@dataclass(frozen=True, slots=True)
class SettingSearch:
    """What every search has: a knob, and its settings in ascending order."""

    knob: str
    settings: tuple[float, ...]

    @property
    def reference(self) -> float:
        """The highest setting."""
        return self.settings[-1]


@dataclass(frozen=True, slots=True)
class SearchState:
    """The state of one group: `asked` is the last decision (None: the reference), applied since `since_ns`."""

    search: Any = None  # of the policy, a SettingSearch
    devices: tuple[str, ...] = ()
    trial: Trial | None = None
    asked: Setting | None = None
    since_ns: int | None = None
    mark: StepCounters | None = None
    step_s: tuple[float, ...] = ()  # per token where tokens are reported, so that steps of different length compare
    power_w: tuple[float, ...] = ()
    steps: int = 0  # the last count that was seen
    watched: tuple[int, ...] = ()  # last clocks at the power limit, before the search starts; 0: not at it


Predict = Callable[[SearchState, SearchOptions], Prediction | None]


def decide(
    trials: Trials, predict: Predict, observation: Observation, state: SearchState, config: SearchOptions
) -> tuple[Decision, SearchState]:
    """One round: release on trouble, otherwise watch the clock, then continue the trial or start the next."""
    reason, counters = trouble(observation, config.stale_ns), _counters(observation, config)
    if reason or isinstance(counters, str):
        idle = replace(state, trial=None, asked=None, since_ns=None, mark=None, step_s=(), power_w=())
        return Decision("release" if state.asked is not None else "hold", reason or str(counters)), idle
    names = tuple(d.uuid for d in observation.devices)
    if state.search is not None and (counters.steps < state.steps or names != state.devices):  # another run
        return Decision("release" if state.asked is not None else "hold", "restarted"), SearchState()
    if state.search is None:
        state = replace(state, watched=(*state.watched, _limited_mhz(observation))[-_WATCHED:])
        if config.knob == "clock" and len(state.watched) < _WATCHED:
            return Decision("hold", "watching"), state
        limited = [clock for clock in state.watched if clock]
        settings = candidates(observation, config, mean(limited) if len(limited) >= _LIMITED * _WATCHED else None)
        if len(settings) < 2:
            return Decision("hold", "nothing_to_choose" if config.steps_below is None else "not_limited"), state
        knob, slowdown = CLOCK if config.knob == "clock" else POWER, config.slowdown or observation.terms.slowdown_ratio
        state = SearchState(trials.start(knob, settings, slowdown, None), names)
    state = replace(state, steps=counters.steps)
    trial = state.trial
    if trial is None:
        return _next(trials, predict, observation, state, config)
    if not _in_force(observation, state, config):
        return Decision("hold", "not_in_force", steering=False), replace(state, since_ns=None, mark=None)
    state = _measured(observation, counters, state, config)
    if len(state.step_s) < trial.samples:
        return Decision("hold", trial.reason, steering=True), state
    search = trials.learn(state.search, trial.setting, state.step_s, state.power_w)
    return _next(trials, predict, observation, replace(state, search=search, trial=None, step_s=(), power_w=()), config)


def _next(
    trials: Trials, predict: Predict, observation: Observation, state: SearchState, config: SearchOptions
) -> tuple[Decision, SearchState]:
    if observation.enforced:
        trial, search = trials.propose(state.search)
    else:
        trial, search = Trial(state.search.reference, _SHADOW_SAMPLES, "shadow"), state.search
        promise = predict(state, config)
        if promise is not None:
            state = replace(state, trial=trial, mark=None)
            return Decision("set", "predicted", promise.settings), state
    setting = setting_of(search, trial.setting)
    changed = setting != state.asked
    state = replace(state, search=search, trial=trial, asked=setting)
    if changed:
        state = replace(state, since_ns=None, mark=None)
    if setting is None:
        return Decision("release" if changed else "hold", trial.reason, steering=True), state
    wanted = dict.fromkeys(state.devices, setting)
    return Decision("set" if changed else "hold", trial.reason, wanted if changed else {}, steering=True), state


def setting_of(search: SettingSearch, value: float) -> Setting | None:
    """A value of the search's knob as a setting; None: the original one."""
    if value == search.reference:
        return None
    return Setting(sm_clock_max_mhz=int(value)) if search.knob == CLOCK else Setting(power_limit_mw=round(value * _MW))


def _in_force(observation: Observation, state: SearchState, config: SearchOptions) -> bool:
    """Whether the requested value of the knob is applied on every device; a request of higher priority may override it."""
    if not observation.enforced:
        return True
    asked = state.asked or Setting()
    applied = [observation.in_force.get(uuid, Setting()) for uuid in state.devices]
    if config.knob == "clock":
        return all(setting.sm_clock_max_mhz == asked.sm_clock_max_mhz for setting in applied)
    return all(setting.power_limit_mw == asked.power_limit_mw for setting in applied)


def _counters(observation: Observation, config: SearchOptions) -> StepCounters | str:
    """The counters now, or in one word why the job's progress cannot be measured."""
    progress, devices = observation.progress, observation.devices
    is_counted = progress is not None and (progress.steps is not None or config.steps_below is not None)
    if progress is None or progress.work is None or not is_counted:
        return "no_steps"
    if progress.steps is None and not progress.queue:
        return "not_saturated"  # without waiting requests the tokens per second are those of the clients
    energies = [d.energy_uj for d in devices if d.energy_uj is not None]
    if not devices or len(energies) < len(devices):
        return "no_energy"
    end_ns = progress.step_end_ns if progress.step_end_ns is not None else progress.boot_ns
    energy_ns = sum(d.boot_ns for d in devices) // len(devices)
    return StepCounters(progress.work, progress.tokens, end_ns, sum(energies), energy_ns, progress.doing in _TRAINING)


def _measured(observation: Observation, here: StepCounters, state: SearchState, config: SearchOptions) -> SearchState:
    """With a sample, where steps have ended since the last one."""
    since_ns, before = state.since_ns if state.since_ns is not None else observation.boot_ns, state.mark
    state = replace(state, since_ns=since_ns)
    if not here.is_training:
        return replace(state, mark=None)
    if min(here.end_ns, here.energy_ns) < since_ns + config.settle_ns:
        return state
    if before is None or here.energy_uj < before.energy_uj:
        return replace(state, mark=here)
    if here.steps == before.steps or here.end_ns - before.end_ns < config.sample_ns or here.energy_ns <= before.energy_ns:
        return state
    trained = (here.tokens or 0) - (before.tokens or 0) if before.tokens is not None else 0
    step_s = (here.end_ns - before.end_ns) / _NS / (trained if trained > 0 else here.steps - before.steps)
    power_w = (here.energy_uj - before.energy_uj) * 1000 / (here.energy_ns - before.energy_ns)
    if not power_w:
        return replace(state, mark=here)
    return replace(state, mark=here, step_s=(*state.step_s, step_s), power_w=(*state.power_w, power_w))


def _limited_mhz(observation: Observation) -> int:
    """The lowest clock of a device at its power limit, which all devices of a job wait for; 0: none is at it."""
    return min((d.sm_clock_mhz or 0 for d in observation.devices if (d.event_reasons or 0) & _POWER_CAP), default=0)


def candidates(observation: Observation, config: SearchOptions, held_mhz: float | None = None) -> list[float]:
    """The settings to choose from, the highest stands for the original one: SM clocks in MHz, or power limits in W.

    Clocks above the one that a device holds at its power limit have no effect; a lock at it ends what the limiter wastes.
    """
    if config.knob == "power":
        originals = observation.original_limits_mw()  # a current limit may have been set by an earlier agent
        ranges = [d.power_range_mw for d in observation.devices]
        if None in originals or None in ranges:
            return []
        top = min(limit for limit in originals if limit is not None) / _MW
        low = max([_LOWEST_POWER * top, *(r[0] / _MW for r in ranges if r is not None)])
        return _spread(low, top, config.grid, _POWER_STEP_W)
    highest = [d.sm_clock_max_mhz for d in observation.devices]
    if None in highest:
        return []
    top = min(clock for clock in highest if clock is not None)
    knees = [find(config.knees, d.sku) for d in observation.devices]
    low = max(_UNKNOWN_KNEE * top if knee is None else knee.knee_mhz for knee in knees)
    if config.steps_below is not None:
        if held_mhz is None:
            return []
        low = max(low, held_mhz - config.steps_below * _CLOCK_STEP_MHZ)
    high = top if held_mhz is None else min(top, (round(held_mhz / _CLOCK_STEP_MHZ) + _STEPS_ABOVE) * _CLOCK_STEP_MHZ)
    return sorted({*_spread(low, high, config.grid, _CLOCK_STEP_MHZ), float(top)})


def _spread(low: float, top: float, count: int, step: int) -> list[float]:
    if low >= top:
        return []
    inner = (low + (top - low) * i / (count - 1) for i in range(count - 1))
    return sorted({*(float(round(x / step) * step) for x in inner if round(x / step) * step < top), float(top)})


DEFAULTS: Mapping[str, object] = {"knob": "clock", "grid": 12, "sample_s": 1.0, "settle_s": 2.0, "stale_s": 5.0}
OPTIONS: Mapping[str, str] = {
    "knob": "setting to steer: clock or power (default clock)",
    "grid": "number of settings to choose from, 2 to 64 (default 12)",
    "sample_s": "seconds of steps per sample, at least one step (default 1)",
    "settle_s": "seconds ignored after a change of setting (default 2)",
    "stale_s": "age in seconds at which a reading counts as missing (default 5)",
}


def configure(
    policy: str, options: Mapping[str, object], knees: Sequence[Knee], defaults: Mapping[str, object] = DEFAULTS
) -> SearchOptions:
    """Config from the user's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    values = {**DEFAULTS, **checked(policy, options, defaults, {"grid": (2, 64), "slowdown": (0.001, 0.5)})}
    if values["knob"] not in ("clock", "power"):
        raise UsageError(f"dvfs policy {policy}: knob: expected clock or power, got {values['knob']!r}")
    sample_ns, settle_ns, stale_ns = (int(values[name] * _NS) for name in ("sample_s", "settle_s", "stale_s"))
    below, slowdown = values.get("steps_below"), values.get("slowdown")
    grid = int(values["grid"] if below is None else below + _STEPS_ABOVE + 1)
    return SearchOptions(tuple(knees), values["knob"], grid, sample_ns, settle_ns, stale_ns, below, slowdown)
