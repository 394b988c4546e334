"""Energy between two readings of a counter or of power, and the bound of a gap. Pure.

The meters of GPUs, nodes and facilities and the import of histories share these rules.

Laws (tests/energy_agent/core/meters/test_difference.py):

- Telescoping: the growths of a counter over any readings sum to the energy drawn, also over wraps, while no growth exceeds its
  ceiling and the ceiling is below the counter's range.
- Bounded: no growth is negative or exceeds its ceiling, whatever the counter shows; a gap covers any power up to the maximum.
- Between: a trapezoid lies between the rectangles of its lower and its higher power, and differs from the energy of a power
  that stays between them by no more than its doubt.
- Ordered: an interval starts no later than it ends, and no earlier than 1970.
"""

from collections.abc import Iterable
from enum import Enum

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Gap

_UJ_SCALE = 1_000_000  # mW x ns = 1e-12 J = 1e-6 uJ
_SLEW_NS = 50_000_000  # UTC and the boot clock are read one after the other, and UTC is slewed: not yet a step


class CounterFault(Enum):
    """Why two readings of a counter have no difference."""

    FELL = "fell"  # by no wrap: the counter was reset, or one of the readings is wrong
    IMPOSSIBLE = "impossible"  # it grew by more than can have been drawn


def energy_uj(power_mw: int, duration_ns: int) -> int:
    """Energy of a constant power."""
    return power_mw * duration_ns // _UJ_SCALE


def mean_mw(uj: int, duration_ns: int) -> int:
    """Mean power of an energy."""
    return uj * _UJ_SCALE // duration_ns


def trapezoid_uj(before_mw: int, after_mw: int, duration_ns: int, step_mw: int = 0) -> tuple[int, int]:
    """Energy between two readings of power with the resolution `step_mw`, and its doubt.

    The doubt assumes that power stayed between the two readings.
    """
    doubt_mw = abs(after_mw - before_mw) + step_mw
    return energy_uj(before_mw + after_mw, duration_ns) // 2, energy_uj(doubt_mw, duration_ns) // 2


def ceiling_uj(max_mw: int, duration_ns: int, age_ns: int = 0, step_uj: int = 0) -> int:
    """Maximum growth of a counter if each of its two readings may be `age_ns` old and wrong by `step_uj`."""
    return energy_uj(max_mw, duration_ns + 2 * age_ns) + 2 * step_uj


def growth_uj(before_uj: int, after_uj: int, max_uj: int | None, wraps_uj: Iterable[int] = ()) -> int | CounterFault:
    """Growth of a counter between two readings.

    Args:
        before_uj: the earlier reading.
        after_uj: the later reading.
        max_uj: its ceiling; None: unknown. Then a wrap grows the counter by at most half of its range: a small step back looks
            like nearly a whole wrap.
        wraps_uj: the ranges after which the counter may continue at 0, without those that it may have passed more than once. A
            reading beyond a range rules it out.
    """
    growth = after_uj - before_uj
    if growth < 0:
        wrapped = ((growth + w, w // 2 if max_uj is None else max_uj) for w in wraps_uj if before_uj <= w)
        return next((uj for uj, most in wrapped if 0 <= uj <= most), CounterFault.FELL)
    return growth if max_uj is None or growth <= max_uj else CounterFault.IMPOSSIBLE


def start_of(before_ns: int, end_ns: int, duration_ns: int) -> int:
    """UTC start of the interval from a reading at `before_ns` to one at `end_ns`, which the boot clock measures.

    Where UTC was stepped in between, the interval is as long as the boot clock shows.
    """
    elapsed_ns = end_ns - before_ns
    stepped = abs(elapsed_ns - duration_ns) > max(_SLEW_NS, duration_ns // 100)
    return max(0, end_ns - duration_ns) if stepped or elapsed_ns <= 0 else before_ns


def gap_of(
    device: str,
    start_ns: int,
    end_ns: int,
    max_mw: int | None,
    reason: str,
    *,
    duration_ns: int | None = None,
    age_ns: int = 0,
    seen_uj: int = 0,
) -> Gap:
    """A gap with the energy that can have been drawn beyond `seen_uj`.

    `duration_ns` is its length by the boot clock; without it, only UTC measures the gap. The energy has no bound if the maximum
    power is unknown, or if UTC was set back: then the length is unknown.
    """
    if max_mw is None or end_ns < start_ns:
        return Gap(device, min(start_ns, end_ns), end_ns, 0, UNBOUNDED + reason)
    bound_uj = ceiling_uj(max_mw, end_ns - start_ns if duration_ns is None else duration_ns, age_ns)
    return Gap(device, start_ns, end_ns, max(0, bound_uj - seen_uj), reason)
