"""Another configuration for a loop that goes on: a wrong one changes nothing, and both are told."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock


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
            log.error("configuration not reloaded, the old one stays: %s", error)
        except Exception:  # a defect in one section never ends the loop that goes on
            self.ok = False
            log.exception("configuration not reloaded")
        else:
            self.ok, self.success_ns = True, clock.utc_ns()
            log.info("configuration reloaded")
