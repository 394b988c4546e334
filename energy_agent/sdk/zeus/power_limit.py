"""Request a power limit for the process's own GPUs from the node's agent; no privilege is needed.

A background thread sends and renews the request and checks whether it is applied, so that no training step waits for a
response. A request holds for 10 s: when the process dies, the agent drops it, and the actuator restores the original limit.
"""

import math
import time
from dataclasses import dataclass, field

from energy_agent.runtime.network.agent_socket import agent_socket, ask
from energy_agent.sdk.requesting import SteeringClient
from energy_agent.sdk.zeus.responses import OriginalLimits, SteeringReply, found_of, parse_reply, parse_window_energy

TTL_S = 10.0
_RENEW_S = 2.5
_WATCH_S = 1.0  # interval of checks that a measured limit is still applied
_POLL_S = 0.25
_RETRY_S = 0.5
_EAGER_S = 10.0  # duration of frequent checks whether the requested limit is applied
_SETTLED_S = 3.0  # two rounds of an agent, and a write
_SILENT_S = 5.0  # the last answer expires after so long
_WINDOW_S = 10.0  # after a window's end, its energy is requested for so long


@dataclass(slots=True)
class WindowEnergy:
    """The energy of a window: None until it is known, then J with their half-width by GPU, or the reason why not."""

    start_ns: int
    end_ns: int
    joules: dict[str, tuple[float, float]] | str | None = field(default=None)
    since_s: float = field(default_factory=time.monotonic)  # time of the first request


_speaker: "PowerLimitClient | None" = None


class PowerLimitClient(SteeringClient):
    """Speaks with the agent for one process."""

    def __init__(self) -> None:
        super().__init__("wattlens-asking")
        self._wanted_w: float | None = None
        self._leads = True
        self._asked_s: float | None = None  # when the current request was first sent to the agent
        self._post_s = 0.0  # when to send the request again
        self._told: SteeringReply | None = None
        self._heard_s = 0.0
        self._found: OriginalLimits | None = None
        self._why = ""  # the GPUs are not known
        self._windows: list[WindowEnergy] = []
        self._watched: tuple[float, float] | None = None
        self._broken = False

    # What the machine knows.

    @property
    def original_limits(self) -> OriginalLimits | None:
        """The job's GPUs as they were found; None as long as they are not known."""
        return self._found

    @property
    def absent(self) -> bool:
        """Whether no agent has ever answered, and none could."""
        return self._told is None and not agent_socket().exists()

    @property
    def never(self) -> bool:
        """Whether waiting does not help."""
        return self.absent or bool(self._told and self._told.never)

    @property
    def reason(self) -> str:
        """Why nothing is applied, as far as it is known, in words for the one who trains."""
        said = self._told
        if self.absent:
            return f"no agent responds at {agent_socket()}"
        if said is None or time.monotonic() - self._heard_s > _SILENT_S:
            return self._why or "the agent has not responded yet"
        if said.never or said.reason:
            return f"the agent: {said.never or said.reason}"
        if self._found is None:
            return self._why
        if "asked" not in said.policy:
            return f"the agent's dvfs.policy for this workload is {said.policy!r}; expected auto or asked"
        return (
            "the actuator does not apply the limit: its allow-list needs `knobs: [power]` for these GPUs (see the agent's log)"
        )

    def in_force(self, asked_w: float) -> float | None:
        """The limit in W that is applied due to the request `asked_w`; None: no limit is applied, or not yet."""
        said, asked_s = self._told, self._asked_s
        if said is None or asked_s is None or asked_w != self._wanted_w or time.monotonic() - self._heard_s > _SILENT_S:
            return None
        return said.limit_w(asked_w, settled=time.monotonic() - asked_s > _SETTLED_S)

    # What the machine does.

    def start(self) -> None:
        """Start sending requests. A process has one active requester: this one stops the previous one."""
        global _speaker
        if self._thread is None:
            if _speaker is not None:
                _speaker.hush()
            _speaker = self
            super().start()

    def want(self, limit_w: float | None) -> None:
        """Ask for a limit from now on; None: only say that the job is led from here."""
        self._request(limit_w, leads=True)

    def withdraw(self) -> None:
        """Withdraw the request; the agent is notified once."""
        self._request(None, leads=False)

    def _request(self, limit_w: float | None, *, leads: bool) -> None:
        with self._wake:
            if (limit_w, leads) != (self._wanted_w, self._leads):
                self._wanted_w, self._leads, self._asked_s, self._post_s = limit_w, leads, None, 0.0
                self._wake.notify()

    def watch(self, asked_w: float, limit_w: float) -> None:
        """Start checking that this limit stays applied."""
        with self._wake:
            self._watched, self._broken = (asked_w, limit_w), False
            self._wake.notify()

    def has_kept_limit(self) -> bool:
        """Whether the limit stayed applied since `watch`; ends the watch."""
        with self._wake:
            self._watched = None
            return not self._broken

    def request_energy(self, start_ns: int, end_ns: int) -> WindowEnergy:
        """The energy of a window in UTC ns; it is filled in when the agent has reported it."""
        made = WindowEnergy(start_ns, end_ns)
        with self._wake:
            self._windows.append(made)
            self._wake.notify()
        return made

    # The thread.

    @property
    def _requests(self) -> bool:
        return self._told is not None and (self._leads or self._post_s < math.inf)  # else the agent knows of the withdrawal

    def _turn(self) -> None:
        try:
            self._exchange()
            if self._found is None:
                self._look()
            self._measure()
        except (OSError, ValueError) as error:
            self._why = f"no agent responds at {agent_socket()}: {error}"
            with self._wake:
                self._broken = True
                # Without a request there is nothing to withdraw from an absent agent.
                self._post_s = time.monotonic() + _RETRY_S if self._leads else math.inf
            for window in [w for w in self._windows if _has_timed_out(w)]:
                self._tell(window, self._why)

    def _exchange(self) -> None:
        with self._wake:
            now_s, wanted, leads = time.monotonic(), self._wanted_w, self._leads
            posts = now_s >= self._post_s
            if posts:
                self._post_s = now_s + _RENEW_S if leads else math.inf
        if posts:
            body: dict[str, object] = {"lead": leads, "ttl_s": TTL_S if leads else 1}
            status, reply = ask("POST", "/v1/dvfs", body | ({} if wanted is None else {"power_limit_w": wanted}))
        else:
            status, reply = ask("GET", "/v1/dvfs")
        said = parse_reply(status, reply)
        with self._wake:
            self._told, self._heard_s = said, time.monotonic()
            if wanted == self._wanted_w and posts and self._asked_s is None and status == 202:
                self._asked_s = self._heard_s
            if self._watched is not None and self.in_force(self._watched[0]) != self._watched[1]:
                self._broken = True

    def _look(self) -> None:
        if self._told is not None and self._told.in_force_w:
            self._why = "another power limit is already applied"  # of a run that ended a few seconds ago
            return
        status, me = ask("GET", "/v1/me")
        limits = found_of(me) if status == 200 else str(me.get("reason", status))
        if isinstance(limits, str):
            self._why = limits
        else:
            self._found, self._why = limits, ""

    def _measure(self) -> None:
        for window in list(self._windows):
            status, reply = ask("GET", f"/v1/window/{window.start_ns}/{window.end_ns}")
            if (status == 503 or reply.get("later")) and not _has_timed_out(window):
                continue
            self._tell(window, parse_window_energy(reply, self._found.uuids if self._found is not None else ()))

    def _tell(self, window: WindowEnergy, joules: dict[str, tuple[float, float]] | str) -> None:
        window.joules = joules
        with self._wake:
            self._windows.remove(window)

    def _pause_s(self) -> float | None:
        """Time until the next request to the agent; None: until a caller needs one."""
        now_s = time.monotonic()
        if now_s >= self._post_s:
            return 0.0
        if self._windows or (self._leads and self._found is None):
            return _POLL_S
        if not self._leads and self._post_s == math.inf:
            return None
        wanted, asked_s = self._wanted_w, self._asked_s
        if wanted is not None and self.in_force(wanted) is None and (asked_s is None or now_s - asked_s < _EAGER_S):
            return _POLL_S
        return min(_WATCH_S if self._watched is not None else _RENEW_S, self._post_s - now_s)


def _has_timed_out(window: WindowEnergy) -> bool:
    return time.monotonic() - window.since_s > _WINDOW_S
