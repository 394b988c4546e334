"""What node, namespace and workload say of steering, merged into the terms of one group. Pure.

One schema for all three: a configuration file, a ConfigMap and a pod's annotation say the same words. Laws:

- Nobody is steered further than the node's owner allows: of the modes the least counts, of the caps the lowest, and a schedule
  of each has to allow it.
- A slowdown is the most specific one that was said, and never above what the node's owner lets others ask for.
- An SLO and the policies are the most specific ones that were said: a workload knows what it serves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dvfs.types import Mode, Terms
from energy_agent.core.week import Span

T = TypeVar("T")
_ORDER = (Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE)


@dataclass(frozen=True, slots=True)
class Said:
    """What one of them says; None: nothing."""

    mode: Mode | None = None
    policies: tuple[str, ...] | None = None
    slowdown_ratio: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    attainment_ratio: float | None = None
    cap_mw: int | None = None
    shared: bool | None = None
    schedule: tuple[Span, ...] | None = None


def merged(node: Said, others: Sequence[Said], slowdown_most: float, day: int, minute: int) -> Terms:
    """The terms at a minute of the week, in the node's time.

    Args:
        node: what the node's owner says; without a mode nothing is steered.
        others: what namespace and workload say, the most specific last.
        slowdown_most: the most that others may ask for; the node's own word may be more.
        day: of the week, from 0 for Monday.
        minute: of the day.
    """
    said = (node, *others)
    modes = [one.mode for one in said if one.mode is not None] if node.mode is not None else [Mode.OBSERVE]
    open_now = all(any(s.holds(day, minute) for s in one.schedule) for one in said if one.schedule is not None)
    default = Terms()
    asked = _last(one.slowdown_ratio for one in others)
    own = node.slowdown_ratio if node.slowdown_ratio is not None else default.slowdown_ratio
    caps = [one.cap_mw for one in said if one.cap_mw is not None]
    attainment = _last(one.attainment_ratio for one in said)
    return Terms(
        mode=min(modes, key=_ORDER.index) if open_now else Mode.OBSERVE,
        policies=_last(one.policies for one in said) or default.policies,
        slowdown_ratio=own if asked is None else min(asked, max(slowdown_most, own)),
        ttft_s=_last(one.ttft_s for one in said),
        itl_s=_last(one.itl_s for one in said),
        attainment_ratio=default.attainment_ratio if attainment is None else attainment,
        cap_mw=min(caps, default=None),
        shared=bool(_last(one.shared for one in others)),
    )


def _last(values: Iterable[T | None]) -> T | None:
    found: T | None = None
    for value in values:
        found = value if value is not None else found
    return found
