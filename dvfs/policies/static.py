"""Policy `static`: hold every device of the group at the knee of its SKU, and let go at the first sign of trouble.

Right for memory-bound work (decode, streaming), where the knee costs no speed. On compute-bound work it trades speed for
energy without a bound on slowdown: the policies that measure progress are for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvfs.knees import Knee, find
from dvfs.types import THERMAL_REASONS, Decision, Observation, Policy, Setting
from energy_agent.core.errors import UsageError

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Config:
    """The table and the three times. Durations in ns."""

    knees: tuple[Knee, ...]
    clean_ns: int  # trouble-free time before a set
    stale_ns: int  # readings older than this count as missing
    queue_limit: int  # requests that may wait before it counts as trouble


@dataclass(frozen=True, slots=True)
class GroupState:
    """`clean_since_ns`: start of the present trouble-free time, None while there is trouble; `engaged`: knee is set."""

    clean_since_ns: int | None = None
    engaged: bool = False
    queue: int | None = None


def decide(observation: Observation, state: GroupState, config: Config) -> tuple[Decision, GroupState]:
    """Release at once on trouble; set the knee after `clean_s` without any; hold otherwise."""
    now = observation.boot_ns
    queue = observation.progress.queue if observation.progress else None
    trouble = _trouble(observation, state, config)
    if trouble:
        return Decision("release" if state.engaged else "hold", trouble), GroupState(queue=queue)
    since = state.clean_since_ns if state.clean_since_ns is not None else now
    if state.engaged:
        return Decision("hold", "at_knee"), GroupState(since, True, queue)
    if now - since < config.clean_ns:
        return Decision("hold", "settling"), GroupState(since, False, queue)
    settings = {d.uuid: Setting(sm_clock_max_mhz=_knee(config.knees, d.sku)) for d in observation.devices}
    return Decision("set", "knee", settings), GroupState(since, True, queue)


def _trouble(observation: Observation, state: GroupState, config: Config) -> str:
    oldest = observation.boot_ns - config.stale_ns
    if not observation.devices:
        return "no_devices"
    for device in observation.devices:
        if device.boot_ns < oldest:
            return "stale"
        if device.sm_clock_mhz is None or device.event_reasons is None:
            return "missing"
        for bit, name in THERMAL_REASONS.items():
            if device.event_reasons & bit:
                return name
        if find(config.knees, device.sku) is None:
            return "unknown_sku"
    progress = observation.progress
    if progress is None:
        return "no_progress" if observation.progress_expected else ""
    if progress.boot_ns < oldest:
        return "stale_progress"
    if progress.queue is not None and progress.queue > config.queue_limit and progress.queue > (state.queue or 0):
        return "queue_growth"
    # A long queue that no longer grows does not end an engagement, but none starts while it stands.
    if progress.queue is not None and progress.queue > config.queue_limit and not state.engaged:
        return "queue"
    return ""


def _knee(knees: Sequence[Knee], sku: str) -> int:
    row = find(knees, sku)
    if row is None:
        raise ValueError(f"no knee for {sku!r}")  # _trouble has looked
    return row.knee_mhz


_DEFAULTS = {"clean_s": 5.0, "stale_s": 5.0, "queue_limit": 0}


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> Config:
    """Config from the user's options.

    Raises:
        UsageError: an unknown option or a value that is no number >= 0.
    """
    values: dict[str, float] = dict(_DEFAULTS)
    for name, value in options.items():
        if name not in _DEFAULTS:
            raise UsageError(f"dvfs policy static: unknown option {name!r}; there are: {', '.join(_DEFAULTS)}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e6:
            raise UsageError(f"dvfs policy static: {name} must be a number >= 0, got {value!r}")
        values[name] = value
    return Config(tuple(knees), int(values["clean_s"] * _NS), int(values["stale_s"] * _NS), int(values["queue_limit"]))


SPEC = Policy(
    summary="hold each device at the knee of its SKU; release on missing or stale metrics, thermal trouble or queue growth",
    options={
        "clean_s": "seconds without trouble before the knee is set (default 5)",
        "stale_s": "age in seconds at which a reading counts as missing (default 5)",
        "queue_limit": "requests that may wait before a growing queue counts as trouble (default 0)",
    },
    configure=configure,
    start=GroupState,
    decide=decide,
)
