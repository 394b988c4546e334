"""The windows that a sampler serves: which are open, which wait for their last ticks, and the energy of each device. Pure."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from energy_agent.metering.interpolation import Tick, energy_between
from energy_agent.sdk.measure.correlation import combined, mean_correlation
from energy_agent.sdk.measure.power import PowerReadings, integrated
from energy_agent.sdk.measure.ticks import TickTracker
from energy_agent.sdk.measure.wire import COUNTER, INTERPOLATED, POWER, SAMPLING

FINE_S = 1.5
"""Duration of fine reading after a window opens, and again after it closes; the counter covers the time between."""
CLOSING_S = 0.300
"""A closed window waits at most so long for two ticks: the one that ends it, and one more, which shows the level after it."""
KEPT = 10_000
_BEFORE_S = 1.3
_HEAD_S = 2.2


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
        halves: list[tuple[float, float]] = []
        for uuid, ticks in window.ticks.items():
            reason = self._fault(uuid, window, ticks)
            devices[uuid] = {"reason": reason} if reason else self._device(self._trackers[uuid], window, ticks, halves)
        correlation = mean_correlation([t.ticks for t in self._trackers.values() if isinstance(t, TickTracker)])
        spread_j = combined([spread for spread, _ in halves], correlation)
        return {"devices": devices, "half_j": combined((spread_j, sum(hidden for _, hidden in halves)), 0.0)}

    def _complete(self, window: SampledWindow, now_s: float) -> bool:
        assert window.end_s is not None
        if now_s - window.end_s > CLOSING_S:
            return True
        return all(uuid in self._failures or t.ticks_since(window.end_s) > 1 for uuid, t in self._trackers.items())

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
        usual_s = 2.5 * self._trackers[uuid].period_s
        if uuid in window.wrong:
            return window.wrong[uuid]
        if len(ticks) < 2 or ticks[0].at_s - ticks[0].half_s > max(window.start_s + usual_s, window.end_s):
            return "no reading at the start of the window"
        if ticks[-1].at_s < window.end_s - usual_s:
            return "no reading at the end of the window"
        return ""

    def _device(
        self,
        tracker: TickTracker | PowerReadings,
        window: SampledWindow,
        ticks: list[Tick],
        halves: list[tuple[float, float]],
    ) -> dict[str, object]:
        """The reply for a device; adds its half-widths, by errors of a known spread and by bounds, to `halves`."""
        assert window.end_s is not None
        if isinstance(tracker, PowerReadings):
            joules, bound_j = integrated(ticks, tracker.period_s, window.start_s, window.end_s)
            halves.append((0.0, bound_j))
            reason = "the GPU has no energy counter, so its power readings are integrated"
            return {"joules": joules, "half_j": bound_j, "method": POWER, "reason": reason}
        ticks = tracker.narrowed(ticks)
        energy = energy_between(ticks, window.start_s, window.end_s, tracker.power, tracker.longest_s)
        joules, half_j, method, reason = energy.joules, tracker.halves_j(energy), COUNTER, ""
        if tracker.fails:
            joules, half_j, method = energy.line_j, (0.0, energy.bound_j), INTERPOLATED
            reason = "power within ticks of the counter does not fit its model, so the interval is a bound"
        elif tracker.sampled > 0.5:
            method, reason = SAMPLING, "the counter may add up samples of power"
        if not tracker.fails:
            joules -= tracker.sampled * energy.lead_j
        total_j = combined(half_j, 0.0)
        if not (isfinite(joules) and isfinite(total_j) and joules + total_j > 0):
            return {"reason": "the readings contradict each other"}
        halves.append(half_j)
        return {"joules": max(0.0, joules), "half_j": total_j, "method": method, "reason": reason}
