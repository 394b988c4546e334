"""The seams. Each port has one contract suite in tests/contracts that runs on every implementation."""

from typing import Protocol


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
