"""Profile of a GPU's sensors from the changes of its readings: clocks, windows, kind of counter. Pure.

Each sensor's clock is learned from its own changes. The load may be any: where it does not determine a parameter, that
parameter is absent with the reason. All comparisons are of the GPU with itself, so that its unknown gain cancels.

Intervals are at 95 %. Of a period: normal, from its spread. Of medians: order statistics (sign test). Of shares: Wilson. Of
fits, ratios and phases: Student's t over eight batches of the data (batch means).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from energy_agent.metering.counter_scope import decide
from energy_agent.metering.sensors.averages import counter_to_power, shape_of_average
from energy_agent.metering.sensors.steps import counter_sampled, find_steps, window_of_power
from energy_agent.metering.sensors.traces import (
    ProfileEstimate,
    Row,
    SensorTraces,
    absent,
    find_trigger,
    own_clock,
    read_signal,
)


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """All of one GPU. `sensors` has the names of the simulator's parameters (energy_agent/sim/README.md)."""

    sensors: dict[str, ProfileEstimate]
    tick_max_ms: ProfileEstimate  # the longest that a tick of the counter is to be taken for
    counter_step_mj: ProfileEstimate  # greatest common divisor of the counter's differences
    counter_to_power_ratio: ProfileEstimate  # energy by the counter over integrated instant power
    counter_to_module_ratio: ProfileEstimate  # the same of the GPU's module
    counter_scope: ProfileEstimate  # of the two, whose power the counter sums

    def as_json(self) -> dict[str, Any]:
        """By field."""
        others = {name: getattr(self, name).as_json() for name in self.__slots__ if name != "sensors"}
        return {"sensors": {name: estimate.as_json() for name, estimate in self.sensors.items()}, **others}


PARAMETERS: Final = (
    "has_counter", "tick_ms", "tick_jitter_ms", "counter_sampled",
    "has_instant", "power_clock", "power_tick_ms", "power_jitter_ms", "power_phase_ms", "window_ms",
    "has_average", "average_clock", "average_tick_ms", "average_jitter_ms", "average_phase_ms", "average_window_ms",
    "average_tau_ms",
)  # fmt: skip


def no_profile(reason: str) -> SensorProfile:
    """The profile of a GPU that was not read, with the reason."""
    none = absent(reason)
    return SensorProfile(dict.fromkeys(PARAMETERS, none), *[none] * 5)


def profile(traces: SensorTraces) -> SensorProfile:
    """The sensor profile of a GPU."""
    read_ms = traces.read_ms
    energy = read_signal(traces.energy, read_ms, "energy counter")
    instant = read_signal(traces.instant, read_ms, "instant power")
    average = read_signal(traces.average, read_ms, "average power")
    step = absent(energy.clock.reason)
    if energy.clock.period_ms is not None:
        differences = [int(b - a) for a, b in pairwise(energy.values)]
        step = ProfileEstimate(math.gcd(*differences), 1, math.gcd(*differences), len(differences))
    ratio = counter_to_power(energy, instant)
    agree = not isinstance(ratio.value, float) or ratio.low <= 1.0 <= ratio.high
    steps = find_steps(instant, energy, 1.0 if agree or not isinstance(ratio.value, float) else ratio.value)
    power_clock = find_trigger(instant, [("counter", energy)], read_ms)
    average_clock = find_trigger(average, [("counter", energy), ("power", instant)], read_ms)
    sampled = counter_sampled(steps, power_clock, instant, energy)
    sensors = {
        "has_counter": _present(traces.energy), "tick_ms": energy.clock.tick, "tick_jitter_ms": energy.clock.jitter,
        "counter_sampled": sampled,
        "has_instant": _present(traces.instant), "power_clock": power_clock,
        **own_clock("power", power_clock, instant, energy),
        "window_ms": window_of_power(steps, sampled, instant, read_ms),
        "has_average": _present(traces.average), "average_clock": average_clock,
        **own_clock("average", average_clock, average, energy), **shape_of_average(average, energy, instant, read_ms),
    }  # fmt: skip
    module = counter_to_power(energy, read_signal(traces.module, read_ms, "module power"))
    scope = _counter_scope(ratio, module, has_module=traces.module is not None)
    return SensorProfile(sensors, energy.clock.longest, step, ratio, module, scope)


def _counter_scope(gpu: ProfileEstimate, module: ProfileEstimate, *, has_module: bool) -> ProfileEstimate:
    gpu_ratio, module_ratio = (
        (each.value - 1, each.high - each.value) if isinstance(each.value, float) else None for each in (gpu, module)
    )
    scope, _, basis = decide(gpu_ratio, module_ratio, has_module=has_module).partition(":")
    return ProfileEstimate(scope, n=gpu.n) if basis else absent(gpu.reason or "the ratios fit no scope, or both")


def _present(rows: Sequence[Row] | None) -> ProfileEstimate:
    value = float(rows is not None)
    return ProfileEstimate(value, value, value, len(rows or ()))
