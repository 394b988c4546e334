"""The windows that a sampler serves: which are open, which wait for their closing tick, and what each device gave. Pure."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from energy_agent.sdk.measure.estimate import Tick, window_energy
from energy_agent.sdk.measure.tracker import Tracker
from energy_agent.sdk.measure.wire import INTERPOLATED

FINE_S = 1.5
"""Duration of fine reading after a window opens, and again after it closes; the counter covers the time between."""
CLOSING_S = 0.125
"""A closed window waits at most so long for the tick that ends it."""
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

    def __init__(self, trackers: Mapping[str, Tracker], failures: Mapping[str, str]) -> None:
        self._trackers, self._failures = trackers, failures
        self._open: dict[int, SampledWindow] = {}
        self._closing: dict[int, SampledWindow] = {}
        self._ready: OrderedDict[int, SampledWindow] = OrderedDict()

    @property
    def busy(self) -> bool:
        """There is something to read for."""
        return bool(self._open or self._closing)

    def fine(self, now_s: float) -> bool:
        """A window has just opened or closed."""
        return bool(self._closing) or any(now_s - w.start_s < FINE_S for w in self._open.values())

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
                    uuid: [t for t in tracker.ticks if t.hi_s > window.start_s - _BEFORE_S]
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
        """What a window held: {"devices": {uuid: {"joules", "half_j"} or {"reason"}}}, or {"reason"}; then it is forgotten."""
        window = self._ready.pop(number, None)
        if window is None:
            return {"reason": f"the sampler does not know this window: it has ended, or more than {KEPT} windows were not read"}
        assert window.ticks is not None
        assert window.end_s is not None
        return {"devices": {uuid: self._device(uuid, window, ticks) for uuid, ticks in window.ticks.items()}}

    def _complete(self, window: SampledWindow, now_s: float) -> bool:
        assert window.end_s is not None
        if now_s - window.end_s > CLOSING_S:
            return True
        return all(
            uuid in self._failures or (tracker.ticks and tracker.ticks[-1].lo_s >= window.end_s)
            for uuid, tracker in self._trackers.items()
        )

    def _freeze(self, window: SampledWindow) -> None:
        window.ticks = {}
        for uuid, tracker in self._trackers.items():
            head = window.heads.get(uuid, []) if window.heads else []
            since_s = head[-1].hi_s if head else window.start_s - _BEFORE_S
            window.ticks[uuid] = [*head, *(t for t in tracker.ticks if t.hi_s > since_s)]
            if tracker.resets != window.resets.get(uuid, tracker.resets):
                window.wrong[uuid] = "the energy counter was reset during the window"
            if uuid in self._failures:
                window.wrong[uuid] = self._failures[uuid]

    def _device(self, uuid: str, window: SampledWindow, ticks: list[Tick]) -> dict[str, object]:
        assert window.end_s is not None
        reason = window.wrong.get(uuid, "")
        tick_s = self._trackers[uuid].tick_s
        if not reason and (not ticks or ticks[0].lo_s > max(window.start_s + 2.5 * tick_s, window.end_s)):
            reason = "no reading at the start of the window"
        if not reason and ticks[-1].hi_s < window.end_s - 2.5 * tick_s:
            reason = "no reading at the end of the window"
        if not reason:
            sensor = self._trackers[uuid].sensor
            try:
                energy = window_energy(ticks, window.start_s, window.end_s, sensor)
            except ArithmeticError:  # ticks at one instant, before it is known that counter and power have two clocks
                return {"reason": "the readings contradict each other"}
            if isfinite(energy.joules) and isfinite(energy.half_j) and energy.joules + energy.half_j > 0:
                result: dict[str, object] = {"joules": max(0.0, energy.joules), "half_j": energy.half_j}
                return result | ({"method": INTERPOLATED} if sensor.two_clocks else {})
            reason = "the readings contradict each other"
        return {"reason": reason}
