"""Commands that repeat their work until they are stopped."""

import signal
from collections.abc import Callable

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.runtime.loop import Flag, Wake
from wattlens.cli._command import warn


def repeat(work: Callable[[], object], every_s: float) -> None:
    """Attempt the work once per `every_s` seconds until SIGTERM or SIGINT.

    Raises:
        UsageError: the work cannot succeed in any round.
    """
    stopped, wake = Flag(), Wake()

    def stop(*_: object) -> None:
        stopped.set()
        wake.ring()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopped.is_set():
        attempt(work)
        wake.wait(every_s)


def attempt(work: Callable[[], object]) -> None:
    """Do the work. Another error than UsageError is printed: a later round may succeed."""
    try:
        work()
    except UsageError:
        raise
    except WattlensError as error:
        warn(str(error))
