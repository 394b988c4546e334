"""Parsed capture of a `/metrics` response: every series, and its change with the activity of its node."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet_capture import Shot

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
Vector = NDArray[np.float64]

AGE_S = 7 * 86400.0
"""How long the fleet has run at its start: what its counters have then."""
WOBBLE = 0.03
"""Of gauges that moved between the two captures."""
_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_STEADY = ("_pue_", "_per_token", "_predicted_")  # an estimate and its ends keep their order
_POWER_OF = {
    "wattlens_gpu_power_watts": ("wattlens_gpu_energy_joules_total", ("gpu", "uuid")),
    "wattlens_gpu_power_instant_watts": ("wattlens_gpu_energy_joules_total", ("gpu", "uuid")),
    "wattlens_node_power_watts": ("wattlens_node_energy_joules_total", ("source", "domain")),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed capture of a `/metrics` response.

    Args:
        lines: of the response: a comment, or the index of a series.
        keys: name and labels of each series.
        base, rate: at the fleet's start, and by activity.
        watts, wobble, clock: factors of s(t), of noise, and of the time.
        digits: behind the point; -1: any.
    """

    lines: tuple[str | int, ...]
    keys: tuple[Key, ...]
    base: Vector
    rate: Vector
    watts: Vector
    wobble: Vector
    clock: Vector
    digits: tuple[int, ...]

    def values(self, s: Vector, total: Vector, t_s: Vector) -> NDArray[np.float64]:
        """Of each time a row, of each series a column."""
        noise = np.sin(np.outer(t_s, 0.01 + 0.001 * np.arange(len(self.keys)) % 0.3))
        values = (
            self.base + np.outer(total, self.rate) + np.outer(s, self.watts) + noise * self.wobble + np.outer(t_s, self.clock)
        )
        whole = np.array(self.digits) == 0
        values[:, whole] = np.floor(values[:, whole])
        rounded: NDArray[np.float64] = np.round(values, 6)
        return rounded


def template(shots: tuple[Shot, Shot]) -> Template:
    """Parse a response; values that changed between its two captures continue to change."""
    then, now = (dict(_series(shot.text)) for shot in shots)
    seconds = shots[1].at_s - shots[0].at_s
    kinds: dict[str, str] = {}
    lines: list[str | int] = []
    keys: list[Key] = []
    columns: list[tuple[float, float, float, float, float]] = []
    digits: list[int] = []
    for line in shots[1].text.splitlines():
        if line.startswith("#"):
            words = line.split()
            if words[1] == "TYPE":
                kinds[words[2]] = words[3]
            lines.append(line)
            continue
        key, value = _parsed(line)
        before = then.get(key, value)
        counts = _is_counter(key[0], kinds)
        rate = max(0.0, (value - before) / seconds) if counts else 0.0
        lines.append(len(keys))
        keys.append(key)
        columns.append(_column(key, value, before, rate if counts else None))
        counted = value == int(value) and before == int(before) and not any(unit in key[0] for unit in ("joules", "watts"))
        digits.append(0 if counted else -1)
    base, moving, watts, wobble, clock = np.ascontiguousarray(np.array(columns).T)
    made = Template(tuple(lines), tuple(keys), base, moving, watts, wobble, clock, tuple(digits))
    _couple(made, now)
    return made


def keys_of(text: str) -> tuple[Key, ...]:
    """The series of a response."""
    return tuple(key for key, _ in _series(text))


def _column(key: Key, value: float, before: float, rate: float | None) -> tuple[float, float, float, float, float]:
    """base, rate, watts, wobble, clock."""
    if rate is not None:
        return value + rate * AGE_S, rate, 0.0, 0.0, 0.0
    if key[0].endswith("timestamp_seconds"):
        return -1.0, 0.0, 0.0, 0.0, 1.0
    if key[0].endswith(("_power_watts", "_power_instant_watts")):
        return 0.0, 0.0, value, 0.0, 0.0
    moves = value != before and not any(word in key[0] for word in _STEADY)
    wobble = WOBBLE * value if moves else 0.0
    return value - wobble, 0.0, 0.0, wobble, 0.0


def _couple(template: Template, now: dict[Key, float]) -> None:
    """Power is the rate of its energy; of a site the other way round, as its meters count whole watt hours."""
    rates: dict[Key, float] = {}
    for i, (name, labels) in enumerate(template.keys):
        for energy, kept in set(_POWER_OF.values()):
            if name == energy:
                key = (energy, tuple((k, v) for k, v in labels if k in kept))
                rates[key] = rates.get(key, 0.0) + template.rate[i]
    for i, (name, labels) in enumerate(template.keys):
        if name in _POWER_OF:
            energy, kept = _POWER_OF[name]
            template.watts[i] = rates[energy, tuple((k, v) for k, v in labels if k in kept)]
        if name == "wattlens_facility_energy_joules_total":
            template.rate[i] = now["wattlens_facility_power_watts", labels]
            template.base[i] = now[name, labels] + template.rate[i] * AGE_S


def _is_counter(name: str, kinds: dict[str, str]) -> bool:
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return kinds.get(name) == "counter" or kinds.get(stem) == "histogram"


def _series(text: str) -> Iterator[tuple[Key, float]]:
    return (_parsed(line) for line in text.splitlines() if not line.startswith("#"))


def _parsed(line: str) -> tuple[Key, float]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError(f"not a line of a page: {line[:200]}")
    return (match[1], tuple(_LABEL.findall(match[2] or ""))), float(match[3])
