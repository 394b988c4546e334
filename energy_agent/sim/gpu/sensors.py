"""Sensor parameters of a simulated GPU: their ranges, and random sensors that an estimator has not seen.

energy_agent/sim/README.md has the meaning of each parameter and the basis of its range.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.sim.gpu.boards import BoardSpec, boards


@dataclass(frozen=True, slots=True)
class SensorParameter:
    """Permitted values: from `low` to `high`. A choice has `words`, whose positions are its values."""

    low: float
    high: float
    words: tuple[str, ...] = ()


_PERIOD, _JITTER, _PHASE = SensorParameter(1, 1000), SensorParameter(0, 200), SensorParameter(-1, 1000)
_WINDOW = SensorParameter(0, 2000)
_FLAG = SensorParameter(0, 1)

SENSOR_PARAMETERS: Final[Mapping[str, SensorParameter]] = MappingProxyType(
    {
        "has_counter": _FLAG, "has_instant": _FLAG, "has_average": _FLAG, "usage_is_average": _FLAG, "clock_shared": _FLAG,
        "counter_sampled": _FLAG, "counter_lag_ms": SensorParameter(0, 500),
        "module_w": SensorParameter(0, 2000), "counter_of_module": _FLAG,
        "tick_ms": _PERIOD, "tick_jitter_ms": _JITTER, "tick_phase_ms": _PHASE,
        "window_ms": SensorParameter(1, 2000),
        "power_clock": SensorParameter(0, 2, ("counter", "own", "read")),
        "power_tick_ms": _PERIOD, "power_jitter_ms": _JITTER, "power_phase_ms": _PHASE,
        "average_clock": SensorParameter(0, 3, ("counter", "own", "read", "power")),
        "average_tick_ms": _PERIOD, "average_jitter_ms": _JITTER, "average_phase_ms": _PHASE,
        "average_window_ms": _WINDOW, "average_tau_ms": SensorParameter(0, 10_000),
    }
)  # fmt: skip
"""Times are whole ms, except `average_tau_ms`."""


@dataclass(frozen=True, slots=True)
class RandomRange:
    """Range of a uniform draw, and where it comes from: `measured` (published for some product) or `assumed`."""

    low: float
    high: float
    basis: str


RANDOM_RANGES: Final[Mapping[str, RandomRange]] = MappingProxyType(
    {
        "tick_ms": RandomRange(20, 100, "measured"),
        "power_tick_ms": RandomRange(20, 100, "measured"),
        "average_tick_ms": RandomRange(20, 100, "assumed"),
        "window_ms": RandomRange(10, 100, "measured"),  # at most the period of power
        "jitter_ratio": RandomRange(0.0, 0.2, "assumed"),  # of the period, of each clock
        "average_window_ms": RandomRange(500, 1500, "assumed"),  # published: 1 s
        "average_tau_ms": RandomRange(200, 1000, "assumed"),
    }
)

SENSOR_CLASSES: Final[Mapping[str, tuple[Mapping[str, float], tuple[str, ...]]]] = MappingProxyType(
    {
        "shared_clock": ({}, ("counter",)),
        "separate_clocks": ({}, ("own",)),
        "fresh_power": ({}, ("read",)),
        "sampled_counter": ({"counter_sampled": 1.0}, ("counter", "own")),
        "no_instant": ({"has_instant": 0.0, "has_average": 1.0}, ("counter", "own")),
        "no_counter": ({"has_counter": 0.0}, ("counter", "own", "read")),
    }
)
"""By class: the parameters that define it, and the clocks that instant power may have."""


def sensor_number(name: str, value: float | str) -> float:
    """The value of a sensor parameter as the plant takes it.

    Raises:
        UsageError: unknown parameter, or a value outside its range; one line that names it.
    """
    parameter = SENSOR_PARAMETERS.get(name)
    if parameter is None:
        raise UsageError(f"unknown sensor parameter {name[:64]!r}; expected one of {', '.join(SENSOR_PARAMETERS)}")
    if isinstance(value, str):
        if value not in parameter.words:
            expected = f"one of {', '.join(parameter.words)}" if parameter.words else "a number"
            raise UsageError(f"{name}: expected {expected}, got {value[:64]!r}")
        return float(parameter.words.index(value))
    whole = name != "average_tau_ms"
    if not parameter.low <= value <= parameter.high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise UsageError(f"{name}: expected {kind} from {parameter.low:g} to {parameter.high:g}, got {value:g}")
    return float(value)


def check_sensors(numbers: Mapping[str, float]) -> None:
    """Check the parameters of one GPU against each other.

    Raises:
        UsageError: they contradict each other.
    """
    for name in SENSOR_PARAMETERS:
        sensor_number(name, numbers[name])
    for clock in ("", "power_", "average_"):
        if numbers[f"{clock}tick_ms"] - numbers[f"{clock}jitter_ms" if clock else "tick_jitter_ms"] < 1:
            raise UsageError(f"{clock}tick_ms less its jitter must be at least 1 ms")
    window, tau = numbers["average_window_ms"], numbers["average_tau_ms"]
    if window and tau:
        raise UsageError("average_window_ms and average_tau_ms exclude each other: the average is a boxcar or exponential")
    if numbers["average_clock"] and not window and not tau:
        raise UsageError("average_clock: without average_window_ms or average_tau_ms, only 'counter' is supported")


def random_sensors(rng: Random, sensor_class: str) -> dict[str, float]:
    """Sensor parameters of a random GPU of `sensor_class` ("any": of a random class), from RANDOM_RANGES.

    Raises:
        UsageError: unknown class.
    """
    if sensor_class != "any" and sensor_class not in SENSOR_CLASSES:
        raise UsageError(f"unknown class of sensors {sensor_class[:64]!r}; expected any or one of {', '.join(SENSOR_CLASSES)}")
    fixed, power_clocks = SENSOR_CLASSES[rng.choice(sorted(SENSOR_CLASSES)) if sensor_class == "any" else sensor_class]
    values: dict[str, float] = {"has_average": float(rng.random() < 0.8), **fixed}
    values["power_clock"] = sensor_number("power_clock", rng.choice(power_clocks))
    values["average_clock"] = sensor_number("average_clock", rng.choice(("counter", "own", "power")))
    for clock in ("", "power_", "average_"):
        period = values[f"{clock}tick_ms"] = _draw(rng, f"{clock}tick_ms")
        jitter = "tick_jitter_ms" if not clock else f"{clock}jitter_ms"
        values[jitter] = float(int(period * rng.uniform(RANDOM_RANGES["jitter_ratio"].low, RANDOM_RANGES["jitter_ratio"].high)))
    period = values["power_tick_ms" if values["power_clock"] == 1.0 else "tick_ms"]
    values["window_ms"] = min(_draw(rng, "window_ms"), period)
    values["usage_is_average"] = values["has_average"]
    average = rng.choice(("average_window_ms", "average_tau_ms"))
    return values | {"average_window_ms": 0.0, "average_tau_ms": 0.0, average: _draw(rng, average)}


def random_board(rng: Random, sensor_class: str, *, sku: str | None = None, in_step: bool = False) -> BoardSpec:
    """A GPU with random sensors whose product name does not reveal them.

    Args:
        rng: source of every draw; the gain comes from the seed of the node.
        sensor_class: a key of SENSOR_CLASSES, or "any".
        sku: its power curve and architecture; None draws it, so that the architecture does not reveal the sensors.
        in_step: the sensors of all such GPUs of a node tick at the same instants.

    Raises:
        UsageError: unknown class.
    """
    values = random_sensors(rng, sensor_class) | {"clock_shared": float(in_step)}
    return BoardSpec(sku or rng.choice(sorted(boards())), name="NVIDIA GPU", overrides=values)


def _draw(rng: Random, name: str) -> float:
    return float(rng.randint(int(RANDOM_RANGES[name].low), int(RANDOM_RANGES[name].high)))
