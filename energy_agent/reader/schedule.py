"""When the reader has work to do. Durations use the boot clock; UTC only aligns readings with seconds and cells."""

from typing import Final

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S

_JUST_SERVED: Final = 10  # an edge closer than a tenth of a period is the one that was just served: the two clocks drift


def until_edge_ns(utc_ns: int, period_ns: int) -> int:
    """Return the time from `utc_ns` to the next whole period of UTC that was not just served."""
    left_ns = period_ns - utc_ns % period_ns
    return left_ns if left_ns > period_ns // _JUST_SERVED else left_ns + period_ns


class Schedule:
    """Readings at whole periods of UTC, some of them full. A step of UTC changes their phase, never their number.

    Args:
        clock: UTC and the boot clock.
        period_ns: from one reading to the next.
        full_period_ns: from one full reading to the next.
    """

    def __init__(self, clock: Clock, period_ns: int, full_period_ns: int) -> None:
        self._clock, self._period_ns, self._full_period_ns = clock, period_ns, full_period_ns
        self._due_boot_ns = self._full_boot_ns = clock.boot_ns()

    def begin(self) -> bool:
        """A reading begins now; return whether it is a full one."""
        boot_ns = self._clock.boot_ns()
        full = boot_ns >= self._full_boot_ns - self._period_ns // 2
        if full:
            self._full_boot_ns = boot_ns + until_edge_ns(self._clock.utc_ns(), self._full_period_ns)
        return full

    def end(self) -> None:
        """The reading is done; the next one is due at the next edge."""
        self._due_boot_ns = self._clock.boot_ns() + until_edge_ns(self._clock.utc_ns(), self._period_ns)

    def left_s(self) -> float:
        """Return the time until the next reading in s of this clock, 0 when it is due."""
        return max(0, self._due_boot_ns - self._clock.boot_ns()) / NS_PER_S
