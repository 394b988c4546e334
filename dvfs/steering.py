"""The governor on a thread of its own: the agent hands over each snapshot and never waits for a driver, a lock or an actuator.

Only the newest snapshot counts; one that arrives while the governor is busy replaces the one before it.
"""

import logging
import threading
from collections.abc import Sequence

from dvfs.governor import Governor
from dvfs.observe import Group, observations
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.types import Action

LOG = logging.getLogger("wattlens.dvfs")


class Steering:
    """Call it with each snapshot; it answers at once with the actions since the last call and the present views."""

    def __init__(self, governor: Governor, groups: Sequence[Group], clock: Clock) -> None:
        """Start the thread."""
        self._governor = governor
        self._groups = tuple(groups)
        self._clock = clock
        self._change = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._actions: list[Action] = []
        self._views: tuple[DvfsDevice, ...] = ()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="dvfs", daemon=True)
        self._thread.start()

    def __call__(self, snapshot: Snapshot) -> tuple[list[Action], tuple[DvfsDevice, ...]]:
        """Hand over a snapshot; never waits for the governor."""
        with self._change:
            self._snapshot = snapshot
            actions, self._actions = self._actions, []
            self._change.notify()
            return actions, self._views

    def close(self, seconds: float = 15.0) -> list[Action]:
        """Release all leases and end the thread, waiting at most `seconds`; the last actions."""
        with self._change:
            self._ending = True
            self._change.notify()
        self._thread.join(seconds)
        with self._change:
            actions, self._actions = self._actions, []
            return actions

    def _run(self) -> None:
        while True:
            with self._change:
                while self._snapshot is None and not self._ending:
                    self._change.wait()
                snapshot, self._snapshot = self._snapshot, None
                ending = self._ending
            if ending:
                self._keep(self._governor.close())
                return
            if snapshot is not None:
                try:
                    self._keep(self._governor.step(observations(snapshot, self._groups, self._clock.boot_ns())))
                except WattlensError as error:
                    LOG.error("%s", error)

    def _keep(self, actions: list[Action]) -> None:
        with self._change:
            self._actions += actions
            self._views = self._governor.views()
