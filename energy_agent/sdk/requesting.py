"""Keep a process's request at the node's agent alive in a background thread, so that no training step waits for it."""

import atexit
import os
import threading
from abc import ABC, abstractmethod

from energy_agent.runtime.network.agent_socket import ask
from energy_agent.runtime.threads import start_thread

_WITHDRAW_S = 0.5


class SteeringClient(ABC):
    """All methods return at once but `stop`, which takes a second at most."""

    def __init__(self, name: str) -> None:
        self._wake = threading.Condition()
        self._talking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._name, self._pid, self._stopping = name, os.getpid(), False

    @property
    @abstractmethod
    def _requests(self) -> bool:
        """Whether the agent has a request of this process that is to be withdrawn at its end."""

    @abstractmethod
    def _turn(self) -> None:
        """Exchange with the agent what is due."""

    @abstractmethod
    def _pause_s(self) -> float | None:
        """Time until the next turn; None: until somebody wakes the thread."""

    def start(self) -> None:
        """Begin to request; does nothing the second time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            start_thread(self._thread)
            atexit.register(self.stop)

    def hush(self) -> None:
        """Request no more, and leave what was requested to its end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def stop(self) -> None:
        """Request no more, and withdraw what was requested."""
        if os.getpid() != self._pid:  # a forked child: the request is its parent's
            return
        with self._wake:
            stopped, self._stopping = self._stopping, True
            self._wake.notify()
        # With the lock nothing is on its way: a request that the thread was sending until now is withdrawn too.
        if stopped or not self._talking.acquire(timeout=_WITHDRAW_S):
            return
        try:
            if self._requests:
                ask("POST", "/v1/dvfs", {"ttl_s": 1}, within_s=_WITHDRAW_S)
        except (OSError, ValueError):
            pass  # the agent ends the request when its time is over
        finally:
            self._talking.release()

    def _run(self) -> None:
        while True:
            with self._talking:
                if self._stopping:
                    return
                self._turn()
            with self._wake:
                if not self._stopping:
                    self._wake.wait(self._pause_s())
