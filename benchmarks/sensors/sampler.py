"""The product in simulated time: its trackers and windows, fed by a reader that is sometimes late."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.sensors.plant import Gpu
from energy_agent.sdk.measure.power import AVERAGE_S, INSTANT_S, PowerReadings
from energy_agent.sdk.measure.sampler_windows import Windows
from energy_agent.sdk.measure.ticks import SensorRecord, TickTracker

_LIMIT_W = 700.0
_STALL_S = 0.040
_BETWEEN_STALLS_S = 5.0
_LONGEST_SLEEP_S = 0.005


@dataclass(frozen=True, slots=True)
class Statement:
    """The energy of a window as the product states it, without the sensor's gain error. A refusal has a reason alone."""

    joules: float = 0.0
    low_j: float = 0.0
    high_j: float = 0.0
    reason: str = ""


class SimulatedSampler:
    """Reads GPUs one after another when their trackers request it. A read takes `latency_s`, more or less."""

    def __init__(self, rng: random.Random, gpus: Sequence[Gpu], latency_s: float) -> None:
        record = SensorRecord()
        self.now_s = 0.0
        self.statements: dict[int, Statement] = {}
        self._rng, self._gpus, self._latency_s = rng, gpus, latency_s
        self._trackers: list[TickTracker | PowerReadings] = []
        for gpu in gpus:
            first = gpu.read(0.0)
            period_s = INSTANT_S if first.instant_w is not None else AVERAGE_S
            self._trackers.append(PowerReadings(period_s) if first.energy_j is None else TickTracker(record, _LIMIT_W))
        self._windows = Windows({f"GPU-{k}": tracker for k, tracker in enumerate(self._trackers)}, {})
        self._due_s = [0.0] * len(gpus)
        self._stall_s = rng.expovariate(1 / _BETWEEN_STALLS_S)
        self._waiting: set[int] = set()

    def open(self, number: int, start_s: float) -> None:
        """Open a window and read at once, as the sampler does."""
        self._windows.open(number, start_s)
        self._due_s = [min(due_s, self.now_s) for due_s in self._due_s]

    def close(self, number: int, end_s: float) -> None:
        """Close a window; its statement follows when the product is ready."""
        self._windows.close(number, end_s)
        self._waiting.add(number)

    def run(self, end_s: float) -> None:
        """Go on to an instant, or a little past it."""
        while self.now_s < end_s:
            due_s = min(self._due_s)
            if due_s > self.now_s:
                sleep_s = _LONGEST_SLEEP_S if self._waiting else 1.0
                self.now_s = min(due_s, end_s, self.now_s + sleep_s)
            self._stall()
            fine = self._windows.fine(self.now_s)
            for k, due_s in enumerate(self._due_s):
                if due_s <= self.now_s:
                    self._read(k, fine)
            for number in self._windows.step(self.now_s):
                self._waiting.discard(number)
                self.statements[number] = _statement(self._windows.result(number))

    def _stall(self) -> None:
        if self.now_s > self._stall_s:
            self.now_s += _STALL_S
            self._stall_s = self.now_s + self._rng.expovariate(1 / _BETWEEN_STALLS_S)

    def _read(self, k: int, fine: bool) -> None:
        asked_s, latency_s = self.now_s, self._latency_s * self._rng.uniform(0.7, 1.5)
        self.now_s += latency_s
        if self._rng.random() < 0.5:  # the pause comes inside of a read as often as between two
            self._stall()
        reading = self._gpus[k].read(asked_s + self._rng.random() * latency_s)
        tracker, power_w = self._trackers[k], reading.average_w if reading.instant_w is None else reading.instant_w
        if isinstance(tracker, PowerReadings):
            tracker.feed(asked_s, self.now_s, power_w or 0.0)
        else:
            tracker.feed(asked_s, self.now_s, reading.energy_j or 0.0, reading.instant_w)
        self._due_s[k] = self._trackers[k].due_s(self.now_s, fine)


def _statement(result: dict[str, object]) -> Statement:
    devices, half_j = result.get("devices"), result.get("half_j")
    if not isinstance(devices, dict) or not isinstance(half_j, float):
        return Statement(reason=str(result.get("reason")))
    reasons = [str(device["reason"]) for device in devices.values() if "joules" not in device]
    if reasons or not devices:
        return Statement(reason=reasons[0] if reasons else "no GPU was measured")
    joules = sum(device["joules"] for device in devices.values())
    return Statement(joules, joules - half_j, joules + half_j)
