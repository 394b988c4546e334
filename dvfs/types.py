"""The words of DVFS, all frozen: what may be set, what is seen, and what a policy decides.

Raw units as beside NVML: clocks in MHz, limits in mW. Instants are CLOCK_BOOTTIME ns unless a name says otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

KNOBS = ("power", "clock")
Knob = Literal["power", "clock"]
Baseline = Literal["unlocked"] | tuple[int, int]
"""What the SM clock lock was before us: it has no getter in NVML, so the owner declares it. MHz."""


class Mode(StrEnum):
    """How far the governor goes."""

    OBSERVE = "observe"  # watches, decides nothing
    SHADOW = "shadow"  # decides in full, writes nothing, needs no privilege
    ENFORCE = "enforce"  # writes through the actuator


@dataclass(frozen=True, slots=True)
class Setting:
    """What a device should run at; None means: as it was found. `Setting()` is a full release."""

    sm_clock_max_mhz: int | None = None
    power_limit_mw: int | None = None

    def as_json(self) -> dict[str, int]:
        """Only what is set, for the wire and the ledger."""
        pairs = {"sm_clock_max_mhz": self.sm_clock_max_mhz, "power_limit_mw": self.power_limit_mw}
        return {name: value for name, value in pairs.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner allows on a device. The default allows nothing. Ranges are inclusive; None: as far as the device goes."""

    knobs: frozenset[str] = frozenset()
    sm_clock_mhz: tuple[int, int] | None = None
    power_mw: tuple[int, int] | None = None
    baseline: Baseline | None = None  # without it the clock knob is refused


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the device itself can do, as it answered. Empty or None: it did not say, so that knob is refused."""

    sm_clocks_mhz: tuple[int, ...] = ()
    power_mw: tuple[int, int] | None = None


# Clock-event reason bits of NVML which bind a clock whatever we ask; `idle` is not one.
BINDING_REASONS: Mapping[int, str] = {
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
}
THERMAL_REASONS: Mapping[int, str] = {bit: name for bit, name in BINDING_REASONS.items() if bit & (0x8 | 0x20 | 0x40 | 0x80)}


@dataclass(frozen=True, slots=True)
class DeviceObservation:
    """One device of a group. None: not known. `boot_ns` is when it was read."""

    uuid: str
    sku: str  # NVML's device name
    boot_ns: int
    sm_clock_mhz: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    event_reasons: int | None = None
    gpu_percent: int | None = None
    energy_uj: int | None = None  # cumulative


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters of the group's work, as its server or hook tells them. `boot_ns` is when they were read."""

    boot_ns: int
    tokens: int | None = None
    steps: int | None = None
    queue: int | None = None  # requests that wait
    latency_sum_s: float | None = None
    latency_count: int | None = None

    @property
    def work(self) -> int | None:
        """The counter that savings are measured by: steps where there are any, else tokens."""
        return self.steps if self.steps is not None else self.tokens


@dataclass(frozen=True, slots=True)
class Observation:
    """One group (all devices of a job or engine) at one instant: all that a policy may look at."""

    group: str
    boot_ns: int
    devices: tuple[DeviceObservation, ...]
    progress: Progress | None = None
    progress_expected: bool = False  # a source is configured: its silence is then a reason to release
    workload: str = ""
    open_arrivals: bool = False  # requests come whatever the server's speed, as the owner declares


Action = Literal["hold", "set", "release"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy wants for the whole group, and why in one word (a metric label)."""

    action: Action
    reason: str
    settings: Mapping[str, Setting] = field(default_factory=dict)  # by device; empty unless action is set


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file's `SPEC`. `decide` is pure: (observation, state, config) -> (decision, next state).

    `configure` turns the user's options and the knee table into the policy's config; it raises UsageError on a bad option.
    `start` is the state of a group seen for the first time.
    """

    summary: str
    options: Mapping[str, str]  # name -> meaning with its default
    configure: Callable[[Mapping[str, object], Any], Any]
    start: Callable[[], Any]
    decide: Callable[[Observation, Any, Any], tuple[Decision, Any]]
