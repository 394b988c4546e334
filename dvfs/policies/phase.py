"""Policy `phase`: lowers the clock while a training job waits, for example for a checkpoint or a data loader.

An allocated GPU keeps a high clock while it waits, which costs power. The hook reports the job's phase within a second; the
GPUs report whether they are busy. So the policy steers only waits that last, and stops at the first sign of work. Evaluation
that keeps the GPUs busy is work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvfs.knees import Knee, find
from dvfs.policies._options import checked
from dvfs.policies._trouble import trouble
from dvfs.types import Decision, DvfsPolicy, Observation, Setting

_NS = 1_000_000_000
_TRAINING = ("", "training")
_REMEMBERED = 8  # waits of a phase


@dataclass(frozen=True, slots=True)
class PhaseOptions:
    """Options of the phase policy, with durations in ns."""

    knees: tuple[Knee, ...]
    after_ns: int  # a wait is steered once it has lasted so long
    busy_percent: int
    stale_ns: int


@dataclass(frozen=True, slots=True)
class WaitState:
    """The current wait, and how long earlier waits lasted, by phase."""

    doing: str = ""  # "": none
    since_ns: int = 0
    engaged: bool = False
    lasted_ns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def decide(observation: Observation, state: WaitState, config: PhaseOptions) -> tuple[Decision, WaitState]:
    """Set the knee while a wait lasts; release at the first sign of work."""
    now, progress = observation.boot_ns, observation.progress
    reason = trouble(observation, config.stale_ns)
    doing = progress.doing if progress is not None else ""
    busy = any((d.gpu_percent or 0) > config.busy_percent for d in observation.devices)
    if reason or doing in _TRAINING or busy:
        why = reason or ("training" if doing in _TRAINING else "busy")
        return Decision("release" if state.engaged else "hold", why), _ended(state, now)
    if doing != state.doing:
        state = replace(_ended(state, now), doing=doing, since_ns=now)
    if state.engaged:
        return Decision("hold", doing), state
    durations_ns = state.lasted_ns.get(doing, ())
    if durations_ns and sorted(durations_ns)[len(durations_ns) // 2] < 2 * config.after_ns:
        return Decision("hold", "short_waits"), state  # it would be over before the clock is back
    if now - state.since_ns < config.after_ns:
        return Decision("hold", "may_be_short"), state
    settings = {d.uuid: _lowest(d.sku, d.sm_clock_max_mhz, config) for d in observation.devices}
    if None in settings.values():
        return Decision("hold", "unknown_clocks"), state
    wanted = {uuid: Setting(sm_clock_max_mhz=clock) for uuid, clock in settings.items()}
    return Decision("set", doing, wanted), replace(state, engaged=True)


def _ended(state: WaitState, now: int) -> WaitState:
    if not state.doing:
        return state
    durations_ns = (*state.lasted_ns.get(state.doing, ()), now - state.since_ns)[-_REMEMBERED:]
    return WaitState(lasted_ns={**state.lasted_ns, state.doing: durations_ns})


def _lowest(sku: str, top_mhz: int | None, config: PhaseOptions) -> int | None:
    """Half of the knee clock, since no work runs that a lower clock could slow down; without a knee, a quarter of the
    maximum.
    """
    knee = find(config.knees, sku)
    if knee is not None:
        return knee.knee_mhz // 2
    return None if top_mhz is None else top_mhz // 4


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> PhaseOptions:
    """Config from the user's options; raises UsageError."""
    values = checked("phase", options, {"after_s": 3.0, "busy_percent": 10, "stale_s": 5.0})
    return PhaseOptions(
        tuple(knees), int(max(1.0, values["after_s"]) * _NS), int(values["busy_percent"]), int(values["stale_s"] * _NS)
    )


SPEC = DvfsPolicy(
    summary="training: lower the clock during long waits of the job (checkpoint, data stall)",
    options={
        "after_s": "seconds of waiting before the clock is lowered, at least 1 (default 3)",
        "busy_percent": "GPU utilisation in percent above which the job is working (default 10)",
        "stale_s": "age in seconds at which a reading counts as missing (default 5)",
    },
    configure=configure,
    start=WaitState,
    decide=decide,
)
