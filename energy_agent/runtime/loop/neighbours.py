"""The work that a loop does for its neighbours (sources, rendering, steering), none of which may end it."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from energy_agent.core.energy import SourceHealth
from energy_agent.core.errors import WattlensError
from energy_agent.core.text import printable

T = TypeVar("T")
REASON_MAX: Final = 200


def reason_of(error: Exception) -> str:
    """Return one bounded, printable line; of an error that is not expected with its type, since its text alone says little."""
    expected = isinstance(error, WattlensError | OSError) and str(error)
    text = str(error) if expected else f"{type(error).__name__}: {error}"
    return printable(text[:REASON_MAX])


class Neighbours:
    """Keeps which work failed when it was last done. One thread uses it."""

    def __init__(self, process: str, log: logging.Logger) -> None:
        """`process` comes before the names of sources, as in `agent:rendering`."""
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
