"""Policy `static`: holds every device of the group at its SKU's knee clock, and releases it at the first sign of trouble.

Right for memory-bound work (decode, streaming), where the knee costs no speed. On compute-bound work it trades speed for
energy without a bound on slowdown: the policies that measure progress are for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvfs.knees import Knee, find
from dvfs.policies._options import checked
from dvfs.policies._trouble import trouble
from dvfs.types import Decision, DvfsPolicy, Observation, Setting

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class KneeOptions:
    """The knee table and three durations in ns."""

    knees: tuple[Knee, ...]
    clean_ns: int  # trouble-free time before a set
    stale_ns: int  # readings older than this count as missing
    queue_limit: int  # requests that may wait before it counts as trouble


@dataclass(frozen=True, slots=True)
class KneeState:
    """`clean_since_ns`: start of the current trouble-free time, None during trouble; `engaged`: the knee clock is applied."""

    clean_since_ns: int | None = None
    engaged: bool = False
    queue: int | None = None


def decide(observation: Observation, state: KneeState, config: KneeOptions) -> tuple[Decision, KneeState]:
    """Release at once on trouble; set the knee after `clean_s` without any; hold otherwise."""
    now = observation.boot_ns
    queue = observation.progress.queue if observation.progress else None
    knees = {device.uuid: find(config.knees, device.sku) for device in observation.devices}
    settings = {uuid: Setting(sm_clock_max_mhz=knee.knee_mhz) for uuid, knee in knees.items() if knee is not None}
    unknown = "unknown_sku" if len(settings) < len(knees) else ""
    reason = trouble(observation, config.stale_ns) or unknown or _queue_trouble(queue, state, config.queue_limit)
    if reason:
        return Decision("release" if state.engaged else "hold", reason), KneeState(queue=queue)
    since = state.clean_since_ns if state.clean_since_ns is not None else now
    if state.engaged:
        return Decision("hold", "at_knee"), KneeState(since, True, queue)
    if now - since < config.clean_ns:
        return Decision("hold", "settling"), KneeState(since, False, queue)
    return Decision("set", "knee", settings), KneeState(since, True, queue)


def _queue_trouble(queue: int | None, state: KneeState, limit: int) -> str:
    if queue is None or queue <= limit:
        return ""
    if queue > (state.queue or 0):
        return "queue_growth"
    # A long queue that no longer grows does not end an engagement, but prevents a new one.
    return "" if state.engaged else "queue"


def configure(options: Mapping[str, object], knees: Sequence[Knee]) -> KneeOptions:
    """Config from the user's options.

    Raises:
        UsageError: an unknown option or a value that is no number >= 0.
    """
    values = checked("static", options, {"clean_s": 5.0, "stale_s": 5.0, "queue_limit": 0})
    return KneeOptions(tuple(knees), int(values["clean_s"] * _NS), int(values["stale_s"] * _NS), int(values["queue_limit"]))


SPEC = DvfsPolicy(
    summary="keep each GPU at the knee of its model; release on missing or stale metrics, thermal limits or queue growth",
    options={
        "clean_s": "seconds without a reason to release before the knee is set (default 5)",
        "stale_s": "age in seconds at which a reading counts as missing (default 5)",
        "queue_limit": "number of waiting requests up to which a growing queue is ignored (default 0)",
    },
    configure=configure,
    start=KneeState,
    decide=decide,
)
