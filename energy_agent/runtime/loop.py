"""Common parts of the loops of the agent and the site process."""

import logging
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_MS

T = TypeVar("T")
REASON_MAX: Final = 200
STEP_BACK_NS: Final = 10 * NS_PER_MS
"""NTP slews UTC without ever turning it back; two threads that read it differ by less than this."""


def reason_of(error: Exception) -> str:
    """Return one bounded, printable line; of an error that is not expected with its type, since its text alone says little."""
    expected = isinstance(error, WattlensError | OSError) and str(error)
    text = str(error) if expected else f"{type(error).__name__}: {error}"
    return printable(text[:REASON_MAX])


class FaultContainment:
    """Keeps which work failed when it was last done. One thread uses it."""

    def __init__(self, process: str, log: logging.Logger) -> None:
        """`process` comes before the names of sources, as in `agent:tokens`."""
        self._process, self._log = process, log
        self._reasons: dict[str, str] = {}

    def contain(self, name: str, work: Callable[[], T], otherwise: T) -> T:
        """Return what `work` returns; where it fails, `otherwise`, and the source `name` is down until it succeeds again."""
        source = f"{self._process}:{name}"
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - a defect, or a hostile input, of a neighbour
            reason = reason_of(error)
            if source not in self._reasons:
                self._log.error("%s: %s", source, reason, exc_info=not isinstance(error, WattlensError))
            self._reasons[source] = reason
            return otherwise
        if self._reasons.pop(source, None) is not None:
            self._log.info("%s: ok", source)
        return result

    def health(self) -> tuple[SourceHealth, ...]:
        """Return what is down now, with its reason."""
        return tuple(SourceHealth(source, False, "", reason) for source, reason in sorted(self._reasons.items()))


@dataclass(slots=True)
class Reload:
    """How the last reload of the configuration went."""

    ok: bool = True
    success_ns: int | None = None

    def attempt(self, change: Callable[[], None], clock: Clock, log: logging.Logger) -> None:
        """Call `change`, which raises WattlensError and leaves everything as it was where the new configuration is wrong."""
        try:
            change()
        except WattlensError as error:
            self.ok = False
            log.error("configuration not reloaded, the previous one stays in use: %s", error)
        except Exception:  # a defect in one section never ends the loop that goes on
            self.ok = False
            log.exception("configuration not reloaded")
        else:
            self.ok, self.success_ns = True, clock.utc_ns()
            log.info("configuration reloaded")


@dataclass(slots=True)
class UtcOrder:
    """Notices when UTC was set back, so that what follows is kept apart from what was stored before."""

    latest_ns: int

    def went_back(self, utc_ns: int) -> bool:
        """Return whether UTC is earlier than at an earlier call; true once per step."""
        back = utc_ns < self.latest_ns - STEP_BACK_NS
        self.latest_ns = utc_ns if back else max(self.latest_ns, utc_ns)
        return back


class Flag:
    """A word that a signal handler may leave. An Event takes a lock for it, which the code that was interrupted may hold."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Leave the word."""
        self._is_set = True

    def clear(self) -> None:
        """Take it away."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it was left."""
        return self._is_set


class Wake:
    """Ends the loop's wait: a select is resumed after a signal handler, so the handler has to make a descriptor ready."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """End the wait that is under way, or the next one."""
        os.eventfd_write(self.fd, 1)

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long; it is forgotten then."""
        select.select([self.fd], [], [], seconds)
        self.drain()

    def drain(self) -> None:
        """Forget the rings."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
