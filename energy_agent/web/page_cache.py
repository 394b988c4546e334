"""The body of the newest snapshot: built once, by the first scrape that asks for it."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from energy_agent.core.energy import Identity


class Published(Protocol):
    """A snapshot of any of our processes; immutable."""

    @property
    def sequence(self) -> int:
        """How many were taken before it."""
        ...

    @property
    def boot_ns(self) -> int:
        """Boot-clock ns at which it was taken."""
        ...

    @property
    def identity(self) -> Identity:
        """Who took it."""
        ...

    @property
    def summary(self) -> str:
        """How it stands, in a few words."""
        ...


class PageCache:
    """One page in one format; any thread may call."""

    def __init__(self, build: Callable[[Any], bytes]) -> None:
        """`build` makes the body of a snapshot."""
        self._build = build
        self._lock = threading.Lock()
        self._built: tuple[Published, bytes] | None = None

    def body(self, snapshot: Published) -> bytes:
        """The body of `snapshot`; who asks while it is being built waits for it."""
        with self._lock:
            if self._built is None or self._built[0] is not snapshot:
                self._built = (snapshot, self._build(snapshot))
            return self._built[1]
