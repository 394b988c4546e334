"""Interfaces between the agent and its surroundings. Each has one contract suite in tests/contracts for all implementations."""

from typing import Protocol

from energy_agent.core.meters.reading import MeterReading


class Clock(Protocol):
    """Time, injected. Real, or shared with the simulated node."""

    def utc_ns(self) -> int:
        """UTC in ns since 1970: what is stored."""
        ...

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME in ns: what durations come from."""
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of this clock's time."""
        ...

    def real_seconds(self, seconds: float) -> float:
        """The machine's time in which `seconds` of this clock pass: for timeouts of waits that are not sleeps."""
        ...

    def boot_id(self) -> str:
        """Names the boot that `boot_ns` counts from."""
        ...


class PolledMeter(Protocol):
    """A meter of the node or the building, opened by one file of node/meters or site/meters. Used by one thread."""

    def read(self) -> tuple[MeterReading, ...]:
        """Read every domain of the meter now; may block for as long as the meter's timeout.

        Raises:
            MeterError: no plausible reading; the next call may succeed.
        """
        ...

    def close(self) -> None:
        """Release sessions and files."""
        ...
