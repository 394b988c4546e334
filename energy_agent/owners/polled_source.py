"""A scheduler that is asked in a thread of its own: what sources of claims share. Each says what it asks, and how often.

Whatever the asking does (fail, hang, take long) is a reason. The last good answer stays; how long it counts, `join` decides.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import ClassVar

from energy_agent.core.energy import SourceHealth
from energy_agent.core.ports import Clock
from energy_agent.owners.claims import Claim, Claims
from energy_agent.runtime.loop.neighbours import reason_of
from energy_agent.runtime.threads import start_thread

log = logging.getLogger("wattlens.holders")

NAMED_UNKNOWN = 16
NOT_READ = "not read yet"


class Asking:
    """A `ClaimSource`. While it is not wanted it says that nobody was given anything, and nothing of its health."""

    source: ClassVar[str]
    called: ClassVar[str]  # in the log
    errors: ClassVar[tuple[type[Exception], ...]] = (OSError, ValueError)  # what asking may raise

    def __init__(self, clock: Clock, *, wanted: bool) -> None:
        """Nothing is asked before `start`."""
        self._clock, self._wanted = clock, wanted
        self._lock, self._stop, self._answered = threading.Lock(), threading.Event(), threading.Event()
        self._claims: Claims | None = None
        self._since: dict[str, int] = {}  # when each workload was first claimed
        self._up, self._reason = False, NOT_READ
        self._success_ns: int | None = None
        self._poll_s: float | None = None
        self._unknown: Mapping[str, str] = {}  # what was given and cannot be told -> to whom

    def here(self) -> bool:
        """Whether there is such a scheduler on this node; asked until there is one."""
        raise NotImplementedError

    def ask(self, now_ns: int) -> tuple[Iterable[Claim], Mapping[str, str]]:
        """What it gave away, and what of it cannot be told, with to whom; `now_ns` is UTC. Raises one of `errors`."""
        raise NotImplementedError

    def pause_s(self, failures: int, took_s: float) -> float:
        """How long after the beginning of one question the next is asked, after so many failures in a row."""
        raise NotImplementedError

    def ended(self) -> None:
        """The thread ends: let go of what asking held."""

    def start(self, wait_s: float = 0.0) -> None:
        """Begin to ask, and wait for the first answer for at most `wait_s`."""
        start_thread(threading.Thread(target=self._run, name=self.source, daemon=True))
        self._answered.wait(wait_s)

    def claims(self) -> Claims | None:
        """The last good answer."""
        return self._claims

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether it answers, and the first devices it gave away that are not known; nothing where there is none."""
        with self._lock:
            if not self._wanted:
                return ()
            own = SourceHealth(self.source, self._up, "", self._reason, self._success_ns, self._poll_s)
            named = list(self._unknown.items())[:NAMED_UNKNOWN]
        return (own, *(SourceHealth(self.source, False, device, f"unknown device, given to {to}") for device, to in named))

    def stop(self) -> None:
        """End the thread with its next wait."""
        self._stop.set()

    def poll(self) -> bool:
        """Ask once; False: it failed."""
        asked_ns, began_s = self._clock.boot_ns(), time.monotonic()
        if not self._wanted:
            self._wanted = self.here()
            if not self._wanted:
                self._claims = Claims(asked_ns)
                return True
        now_ns = self._clock.utc_ns()
        try:
            claims, unknown = self.ask(now_ns)
        except Exception as error:  # noqa: BLE001 - a scheduler may answer anything; none of it ends this thread
            reason = str(error) if isinstance(error, self.errors) else reason_of(error)
            with self._lock:
                if self._up or self._reason == NOT_READ:
                    log.warning("%s: %s", self.called, reason)
                self._up, self._reason = False, reason
            return False
        self._took(sorted(claims, key=lambda claim: (claim.device, claim.workload)), unknown, asked_ns)
        with self._lock:
            self._success_ns, self._poll_s = now_ns, time.monotonic() - began_s
        return True

    def since(self, workload: str, now_ns: int) -> int:
        """When a workload was first claimed: now, unless it was before."""
        return self._since.setdefault(workload, now_ns)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            failures = 0 if self.poll() else failures + 1
            self._answered.set()
            took_s = time.monotonic() - began_s
            self._stop.wait(max(0.05, self.pause_s(failures, took_s) - took_s))
        self.ended()

    def _took(self, claims: list[Claim], unknown: Mapping[str, str], asked_ns: int) -> None:
        named = {claim.workload for claim in claims} | set(unknown.values())
        self._since = {name: since for name, since in self._since.items() if name in named}
        with self._lock:
            before = self._claims
            # The same tuple while nothing changes: whoever follows it compares by identity.
            same = before is not None and before.claims == tuple(claims)
            self._claims = Claims(asked_ns, before.claims if same and before is not None else tuple(claims), len(unknown))
            if not self._up:
                log.info("%s: ok", self.called)
            for device in unknown.keys() - self._unknown.keys():
                log.warning("%s, given to %s: which GPU it is cannot be told; see docs/holders.md", device, unknown[device])
            self._unknown = unknown
            self._up, self._reason = True, ""
