"""Types of DVFS, all frozen: settings, observations and decisions.

Raw units as in NVML: clocks in MHz, limits in mW. Instants are CLOCK_BOOTTIME ns unless a name says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from energy_agent.core.workloads.tokens import Latencies

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
    """What a device should run at; None means the original setting. `Setting()` is a full release."""

    sm_clock_max_mhz: int | None = None
    power_limit_mw: int | None = None

    def as_json(self) -> dict[str, int]:
        """Only what is set, for the wire and the ledger."""
        pairs = {"sm_clock_max_mhz": self.sm_clock_max_mhz, "power_limit_mw": self.power_limit_mw}
        return {name: value for name, value in pairs.items() if value is not None}


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """Limits that the owner allows on a device; none by default. Ranges are inclusive; None: the device's own range."""

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
    power_range_mw: tuple[int, int] | None = None  # lowest and highest limit that the board takes
    sm_clock_max_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class WorkCounters:
    """Counters of the group's work from its server or hook; cumulative unless a comment states otherwise.

    `boot_ns` is when they were read. None: not reported.
    """

    boot_ns: int
    tokens: int | None = None  # generated; of a training job: trained
    steps: int | None = None  # of training
    queue: int | None = None  # requests that wait now
    latency_sum_s: float | None = None  # of the times between two tokens
    latency_count: int | None = None
    prompt_tokens: int | None = None  # computed
    requests: int | None = None  # ended
    running: int | None = None  # requests in the batch now
    ttft: Latencies | None = None
    itl: Latencies | None = None
    step_end_ns: int | None = None  # boot ns at which the last of `steps` ended
    tpot: Latencies | None = None  # mean time between tokens of each request that ended
    doing: str = ""  # phase of a training job now: training, evaluation, checkpoint, data_wait

    @property
    def work(self) -> int | None:
        """The counter that savings are measured by: steps where there are any, else tokens."""
        return self.steps if self.steps is not None else self.tokens


@dataclass(frozen=True, slots=True)
class SteeringSettings:
    """The merged steering settings of a group's node, namespace and workload owners (wattlens/steering/terms.py).

    Args:
        mode: how far the governor goes.
        policies: which policies steer it; the arbiter merges the requests of several.
        slowdown_ratio: how much longer a training run may take, over the whole of it.
        ttft_s: limit of the time to first token; None: no limit.
        itl_s: limit of the time between two tokens; None: no limit.
        attainment_ratio: share of requests that have to stay within them.
        cap_mw: maximum power of a device of the group.
        shared: whether its owner agrees to be steered together with others on the same device.
        is_auto: whether the policies are those that follow from the limits, since nobody named one.
    """

    mode: Mode = Mode.OBSERVE
    policies: tuple[str, ...] = ()
    slowdown_ratio: float = 0.03
    ttft_s: float | None = None
    itl_s: float | None = None
    attainment_ratio: float = 0.99
    cap_mw: int | None = None
    shared: bool = False
    is_auto: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """One group (all devices of a job or engine) at one instant: all that a policy may look at."""

    group: str
    boot_ns: int
    devices: tuple[DeviceObservation, ...]
    progress: WorkCounters | None = None
    progress_expected: bool = False  # a source is configured: its silence is then a reason to release
    workload: str = ""
    open_arrivals: bool = False  # requests come whatever the server's speed, as the owner declares
    terms: SteeringSettings = SteeringSettings()
    enforced: bool = True  # False: in shadow, where nothing that is decided comes to be
    in_force: Mapping[str, Setting] = field(default_factory=dict)  # requested settings by device; others have the original
    asked: Setting | None = None  # current request of the workload itself
    original_limit_mw: Mapping[str, int] | None = None  # by device; one without is not known yet. None: those of now
    is_provable: bool = True  # False: the devices do other work as well, which `progress` does not count
    clocks_mhz: tuple[int, ...] = ()  # to choose from, where not every clock is possible
    owner: str = ""  # of the group's workloads: who shares the limit of groups that are kept when they are gone

    def original_limits_mw(self) -> list[int | None]:
        """The power limit of each device before anything was set; None: not known."""
        if self.original_limit_mw is None:
            return [device.power_limit_mw for device in self.devices]
        return [self.original_limit_mw.get(device.uuid) for device in self.devices]


Action = Literal["hold", "set", "release"]
Kind = Literal["efficiency", "slo"]
"""What a policy is for: of two that want different things of a device, the arbiter goes by it (dvfs/governor/arbiter.py)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy wants for the whole group, and why in one word (a metric label)."""

    action: Action
    reason: str
    settings: Mapping[str, Setting] = field(default_factory=dict)  # by device; empty unless action is set
    steering: bool | None = None  # whether the policy is at work; None: it is while it wants a setting


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a policy expects to save before anything was tried: a share of energy per work, with its 95 % interval."""

    settings: Mapping[str, Setting]
    saving_ratio: float
    low: float
    high: float


def no_prediction(_state: Any, _config: Any) -> Prediction | None:
    """The `predict` of policies without a model."""
    return None


class Trial(NamedTuple):
    """Run `samples` samples at `setting`; `reason` is one word."""

    setting: float
    samples: int
    reason: str


@dataclass(frozen=True, slots=True)
class Trials:
    """A policy that searches by trials, without devices and clocks around it: what `dvfs replay` drives.

    Args:
        start: (knob, settings, slowdown budget, samples or None) -> state.
        propose: state -> (trial, state).
        learn: (state, setting, times per work in s, powers in W) -> state.
        choice: state -> the setting to keep.
    """

    start: Callable[..., Any]
    propose: Callable[[Any], tuple[Trial, Any]]
    learn: Callable[[Any, float, Sequence[float], Sequence[float]], Any]
    choice: Callable[[Any], float]


@dataclass(frozen=True, slots=True)
class DvfsPolicy:
    """A policy file's `SPEC`. `decide` is pure: (observation, state, config) -> (decision, next state).

    `configure` turns the user's options and the knee table into the policy's config; it raises UsageError on a bad option.
    `start` is the state of a group seen for the first time. `predict` returns the expected result of the state, None until
    there is one.
    """

    summary: str
    options: Mapping[str, str]  # name -> meaning with its default
    configure: Callable[[Mapping[str, object], Any], Any]
    start: Callable[[], Any]
    decide: Callable[[Observation, Any, Any], tuple[Decision, Any]]
    kind: Kind = "efficiency"
    predict: Callable[[Any, Any], Prediction | None] = no_prediction
    trials: Trials | None = None


@dataclass(frozen=True, slots=True)
class NodeBudget:
    """A policy over all groups of the node at once: what each device may draw so that they stay within a budget together.

    `decide` is pure: (observations of all groups, state) -> (limits in mW by device, next state).
    """

    budget_mw: int
    start: Callable[[], Any]
    decide: Callable[[Sequence[Observation], Any], tuple[Mapping[str, int], Any]]


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """The `SPEC` of a policy file that is over the node. `configure` makes it of the user's options and the budget in W."""

    summary: str
    options: Mapping[str, str]
    configure: Callable[[Mapping[str, object], float], NodeBudget]
