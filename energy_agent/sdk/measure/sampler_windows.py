"""The windows that a sampler serves: which are open, which wait for their last ticks, and the energy of each device. Pure.

How far the errors of several GPUs add up follows from the steps of their energy counters. GPUs that work in step err together:
their half-widths add up linearly. Those of independent GPUs add up in squares. What lies between follows from the mean
correlation of the counters' steps; where too few steps occurred, it is taken for 1.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import hypot, isfinite, sqrt

from energy_agent.metering.interpolation import EnergyBetween, Tick, energy_between
from energy_agent.sdk.measure.alignment import DELAY_S
from energy_agent.sdk.measure.power import PowerReadings, integrated
from energy_agent.sdk.measure.ticks import TickTracker
from energy_agent.sdk.measure.wire import COUNTER, INTERPOLATED, POWER, SAMPLING

_GRID_S = 0.1
_POINTS = 48
_ENOUGH = 12
FINE_S = 1.5
"""Duration of fine reading after a window opens, and again after it closes; the counter covers the time between."""
CLOSING_PERIODS = 2.2
"""A closed window waits for two ticks: the one that ends it, and one more, which shows the level after it."""
KEPT = 10_000
_DELAYS = 20  # steps in which the range of delays is tried
_BEFORE_S = 1.3
_HEAD_S = 3.8
_SLOWEST_S = 1.0  # of periods that a counter without ticks so far may have
_SLOW_S = 0.120  # a counter with a longer period does not measure windows of about a period


def mean_correlation(devices: Sequence[Sequence[Tick]]) -> float:
    """Mean correlation of the steps of power of every two devices; 1 where too few of them differ from 0."""
    if len(devices) < 2:
        return 1.0
    if any(len(ticks) < 2 for ticks in devices):
        return 1.0
    last_s = min(ticks[-1].at_s for ticks in devices)
    first_s = max(last_s - _POINTS * _GRID_S, *(ticks[0].at_s for ticks in devices))
    instants = [last_s - k * _GRID_S for k in range(int((last_s - first_s) / _GRID_S) + 1)]
    rows = [_steps(_energies(ticks, instants)) for ticks in devices]
    squares = [sum(step * step for step in row) for row in rows]
    total = sum(squares)
    crossed = sum(map(sqrt, squares)) ** 2 - total
    if len(instants) < _ENOUGH or crossed <= 0:
        return 1.0
    effective = total * total / sum(step * step * step * step for row in rows for step in row)
    if effective < _ENOUGH:
        return 1.0
    together = sum(sum(column) ** 2 for column in zip(*rows, strict=True))
    return float(min(1.0, max(0.0, (together - total) / crossed)))


def combined(halves: Sequence[float], correlation: float) -> float:
    """Half-width of a sum, given those of its parts and the correlation of every two."""
    return sqrt(correlation * sum(halves) ** 2 + (1.0 - correlation) * hypot(*halves) ** 2)


def _energies(ticks: Sequence[Tick], instants: Sequence[float]) -> list[float]:
    """The counter at instants in falling order, along straight lines."""
    energies, k = [], len(ticks) - 1
    for at_s in instants:
        while k > 1 and ticks[k - 1].at_s > at_s:
            k -= 1
        a, b = ticks[k - 1], ticks[k]
        energies.append(a.energy_j + (b.energy_j - a.energy_j) * (at_s - a.at_s) / max(1e-4, b.at_s - a.at_s))
    return energies


def _steps(energies: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise([b - a for a, b in pairwise(energies)])]


@dataclass(slots=True)
class SampledWindow:
    """A window, its ends in s of the node's clock."""

    start_s: float
    end_s: float | None = None
    resets: dict[str, int] = field(default_factory=dict)
    heads: dict[str, list[Tick]] | None = None
    ticks: dict[str, list[Tick]] | None = None  # once it is ready
    wrong: dict[str, str] = field(default_factory=dict)


class Windows:
    """Windows over `trackers`, one per device; `failures` has the reason why a device cannot be read now."""

    def __init__(self, trackers: Mapping[str, TickTracker | PowerReadings], failures: Mapping[str, str]) -> None:
        self._trackers, self._failures = trackers, failures
        self._open: dict[int, SampledWindow] = {}
        self._closing: dict[int, SampledWindow] = {}
        self._ready: OrderedDict[int, SampledWindow] = OrderedDict()

    @property
    def busy(self) -> bool:
        """There is something to read for."""
        return bool(self._open or self._closing)

    def fine(self, now_s: float) -> bool:
        """No window is open, or one has just opened or closed."""
        return bool(self._closing) or not self._open or any(now_s - w.start_s < FINE_S for w in self._open.values())

    def open(self, number: int, start_s: float) -> None:
        """A window begins."""
        self._open[number] = SampledWindow(start_s, resets={u: t.resets for u, t in self._trackers.items()})

    def close(self, number: int, end_s: float) -> None:
        """It ends; it is ready once `step` says so."""
        window = self._open.pop(number, None)
        if window is not None:
            window.end_s = end_s
            self._closing[number] = window

    def step(self, now_s: float) -> list[int]:
        """Windows that have become ready."""
        for window in self._open.values():
            if window.heads is None and now_s - window.start_s > _HEAD_S:
                window.heads = {
                    uuid: [t for t in tracker.ticks if t.at_s > window.start_s - _BEFORE_S]
                    for uuid, tracker in self._trackers.items()
                }
        done = [n for n, w in self._closing.items() if self._complete(w, now_s)]
        for number in done:
            window = self._closing.pop(number)
            self._freeze(window)
            self._ready[number] = window
        while len(self._ready) > KEPT:
            self._ready.popitem(last=False)
        return done

    def pending(self, number: int) -> bool:
        """It is open or waits for its closing tick."""
        return number in self._open or number in self._closing

    def result(self, number: int) -> dict[str, object]:
        """The energy of a window, which is then dropped.

        Returns {"devices": {uuid: {"joules", "half_j", "method", "reason"} or {"reason"}}, "half_j": that of their sum}, or
        {"reason"}.
        """
        window = self._ready.pop(number, None)
        if window is None:
            return {"reason": f"the sampler does not know this window: it has ended, or more than {KEPT} windows were not read"}
        assert window.ticks is not None
        devices: dict[str, dict[str, object]] = {}
        parts: list[WindowPart] = []
        for uuid, ticks in window.ticks.items():
            reason = self._fault(uuid, window, ticks)
            devices[uuid] = {"reason": reason} if reason else self._device(self._trackers[uuid], window, ticks, parts)
        spread_j = combined(
            [p.spread_j for p in parts],
            mean_correlation([t.ticks for t in self._trackers.values() if isinstance(t, TickTracker)]),
        )
        return {"devices": devices, "half_j": _half_j(spread_j, parts)}

    def _complete(self, window: SampledWindow, now_s: float) -> bool:
        assert window.end_s is not None
        for uuid, tracker in self._trackers.items():
            last_s = window.end_s + max(0.0, tracker.delays_s[2])
            period_s = tracker.period_s if tracker.has_period else _SLOWEST_S
            waits = now_s - last_s <= CLOSING_PERIODS * period_s
            if waits and uuid not in self._failures and tracker.ticks_since(last_s) < 2:
                return False
        return True

    def _freeze(self, window: SampledWindow) -> None:
        window.ticks = {}
        for uuid, tracker in self._trackers.items():
            head = window.heads.get(uuid, []) if window.heads else []
            since_s = head[-1].at_s if head else window.start_s - _BEFORE_S
            window.ticks[uuid] = [*head, *(t for t in tracker.ticks if t.at_s > since_s)]
            if tracker.resets != window.resets.get(uuid, tracker.resets):
                window.wrong[uuid] = "the energy counter was reset during the window"
            if uuid in self._failures:
                window.wrong[uuid] = self._failures[uuid]

    def _fault(self, uuid: str, window: SampledWindow, ticks: list[Tick]) -> str:
        """Why the energy of a device is not known; "" if it is."""
        assert window.end_s is not None
        period_s = self._trackers[uuid].period_s
        usual_s, length_s = 2.5 * period_s, window.end_s - window.start_s
        if uuid in window.wrong:
            return window.wrong[uuid]
        if isinstance(self._trackers[uuid], TickTracker) and period_s > _SLOW_S and length_s < CLOSING_PERIODS * period_s:
            return (
                f"the window of {length_s:.3g} s is shorter than {CLOSING_PERIODS} periods of the energy counter, which "
                f"changes every {period_s:.3g} s"
            )
        if len(ticks) < 2 or ticks[0].at_s - ticks[0].half_s > max(window.start_s + usual_s, window.end_s):
            return "no reading at the start of the window"
        if ticks[-1].at_s < window.end_s - usual_s:
            return "no reading at the end of the window"
        return ""

    def _device(
        self, tracker: TickTracker | PowerReadings, window: SampledWindow, ticks: list[Tick], parts: list["WindowPart"]
    ) -> dict[str, object]:
        """The reply for a device, whose part of the window is added to `parts`."""
        assert window.end_s is not None
        if isinstance(tracker, PowerReadings):
            joules, bound_j = integrated(ticks, tracker.period_s, window.start_s, window.end_s)
            parts.append(WindowPart(joules, 0.0, bound_j, (0.0, 0.0), [joules] * (_DELAYS + 1)))
            reason = "the GPU has no energy counter, so its power readings are integrated"
            return {"joules": joules, "half_j": bound_j, "method": POWER, "reason": reason}
        ticks = tracker.narrowed(ticks)
        late_s, low_s, high_s = tracker.delays_s

        start_s, end_s, power, longest_s = window.start_s, window.end_s, tracker.power, tracker.longest_s

        def energy(delay_s: float) -> EnergyBetween:
            return energy_between(ticks, start_s + delay_s, end_s + delay_s, power, longest_s)

        best = energy(late_s)
        fails, sampled = tracker.fails, tracker.sampled > 0.5
        by_delay_j = [_joules(energy(low_s + k * (high_s - low_s) / _DELAYS), fails or sampled) for k in range(_DELAYS + 1)]
        joules, method, reason = _joules(best, fails or sampled), COUNTER, ""
        spread_j, hidden_j = tracker.halves_j(best, end_s - start_s)
        if fails:
            spread_j, method = best.bound_j, INTERPOLATED
            reason = "power within ticks of the counter does not fit its model, so the interval is a bound"
        elif sampled:
            method, reason = SAMPLING, "the counter may add up samples of power"
        part = WindowPart(joules, spread_j, hidden_j, (low_s, high_s), by_delay_j)
        total_j = _half_j(spread_j, [part])
        if not (isfinite(joules) and isfinite(total_j) and joules + total_j > 0):
            return {"reason": "the readings contradict each other"}
        parts.append(part)
        return {"joules": max(0.0, joules), "half_j": total_j, "method": method, "reason": reason}


@dataclass(frozen=True, slots=True)
class WindowPart:
    """A device's energy in a window, and its half-widths in J: by errors of a known spread, and by hidden swings of power.

    Args:
        range_s: delays of the counter that are possible.
        by_delay_j: energy with each of _DELAYS + 1 delays over this range.
    """

    joules: float
    spread_j: float
    hidden_j: float
    range_s: tuple[float, float]
    by_delay_j: Sequence[float]


def _joules(energy: EnergyBetween, straight: bool) -> float:
    return energy.line_j if straight else energy.joules


def _half_j(spread_j: float, parts: Sequence[WindowPart]) -> float:
    """Half-width of a window by errors of a known spread, hidden swings, and the delay.

    GPUs of one model have one delay: those that have one range. A delay that was learned errs independently of the rest. One
    that is assumed is a bound, which adds up.
    """
    learned_j = hypot(spread_j, sum(part.hidden_j for part in parts))
    assumed_j = 0.0
    for low_s, high_s in {part.range_s for part in parts}:
        model = [part for part in parts if part.range_s == (low_s, high_s)]
        total_j = sum(part.joules for part in model)
        half_j = max(abs(sum(joules) - total_j) for joules in zip(*(part.by_delay_j for part in model), strict=True))
        if high_s - low_s < DELAY_S / 2:
            learned_j = hypot(learned_j, half_j)
        else:
            assumed_j += half_j
    return learned_j + assumed_j
