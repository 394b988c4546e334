"""Policy `asked`: applies the setting that the workload requests over the agent's socket.

For programs that choose their own settings, and for the ranks of a job whose first node decides (wattlens.steered).
A request is valid for the few seconds that it specifies; then the original setting is restored.
"""

from collections.abc import Mapping, Sequence

from dvfs.knees import Knee
from dvfs.policies._options import checked
from dvfs.policies._trouble import trouble
from dvfs.types import THERMAL_REASONS, Decision, DvfsPolicy, Observation, Setting

_NS = 1_000_000_000
_ORIGINAL = Setting()


def decide(observation: Observation, last: Setting, stale_ns: int) -> tuple[Decision, Setting]:
    """Pass on the request, unless a device has a problem. The state is the setting that was decided last."""
    reason = trouble(observation, stale_ns)
    if reason in {*THERMAL_REASONS.values(), "stale", "missing", "no_devices"}:
        return Decision("release" if last != _ORIGINAL else "hold", reason), _ORIGINAL
    asked = observation.asked or _ORIGINAL
    if asked == last:
        return Decision("hold", "asked" if asked != _ORIGINAL else "nothing_asked"), last
    if asked == _ORIGINAL:
        return Decision("release", "nothing_asked"), _ORIGINAL
    return Decision("set", "asked", {d.uuid: asked for d in observation.devices}), asked


def configure(options: Mapping[str, object], _knees: Sequence[Knee]) -> int:
    """The age in ns from which a reading is stale; raises UsageError."""
    return int(checked("asked", options, {"stale_s": 5.0})["stale_s"] * _NS)


SPEC = DvfsPolicy(
    summary="apply the setting that the workload requests over the agent's socket, until the request expires",
    options={"stale_s": "age in seconds at which a reading counts as missing (default 5)"},
    configure=configure,
    start=Setting,
    decide=decide,
)
