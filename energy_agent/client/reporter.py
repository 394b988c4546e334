"""The thread that tells the node's agent what a training process counted, and keeps what the agent answers.

Reports are cumulative: one that is lost is made up by the next, and after a restart of the agent it just goes on. Without an
agent the thread reads the energy of the process's GPUs itself, through the sampler of `measure`, window after window.
"""

import _thread
import atexit
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from energy_agent.core.record import record

PERIOD_S = 1.0
_SLOW_S = 30.0  # so often an agent that refused us is asked again
_PATIENCE_S = 3.0  # without an agent for so long, NVML is read directly
_FLUSH_S = 1.0
_WINDOWS_S = (1.0, 3.0, 10.0)  # length of the first windows, and of all that follow
_NOTHING = "nothing has been read yet"


@record(frozen=True, slots=True)
class Status:
    """What a run used and did so far, on this node.

    Args:
        source: "agent": the whole workload with all its ranks on this node, as its ledger has it; "nvml": the visible GPUs,
            whole, and this process's own counts; "": nothing is known.
        joules: energy; None, with `reason`, where it is not known.
        power_w: now.
        steps: of training.
        tokens: trained.
        loss: the last one that was told.
        workload: as the agent calls it.
        reason: why there are no joules.
    """

    source: str
    joules: float | None
    power_w: float | None
    steps: int
    tokens: int
    loss: float | None
    workload: str
    reason: str

    @property
    def joules_per_token(self) -> float | None:
        """Energy by tokens; None without either."""
        return self.joules / self.tokens if self.joules is not None and self.tokens else None

    @property
    def joules_per_step(self) -> float | None:
        """Energy by steps; None without either."""
        return self.joules / self.steps if self.joules is not None and self.steps else None


class Reporter:
    """Reports what `told` says. One a process; it starts with the first step."""

    def __init__(self, told: Callable[[], dict[str, Any]]) -> None:
        self._told = told
        self._wake, self._reported = threading.Event(), threading.Event()
        self._ending = self.started = self.quiet = False
        self._asked = self._done = 0
        self._hinted: set[str] = set()
        self._next_s = 0.0
        self._silent_since_s: float | None = None
        self.first: dict[str, Any] | None = None
        self.answer: dict[str, Any] | None = None
        self.reason = _NOTHING
        self.direct: Direct | None = None

    def start(self) -> None:
        """Begin to report. Does not wait for the thread, as `threading.Thread.start` does."""
        if not self.started:
            self.started = True
            _thread.start_new_thread(self._run, ())
            atexit.register(self._end)

    def flush(self) -> None:
        """Report now; waits for it, a second at most."""
        if not self.started:
            return
        self._next_s, self._asked, deadline_s = 0.0, self._asked + 1, time.monotonic() + _FLUSH_S
        mine = self._asked
        self._wake.set()
        while self._done < mine and (left_s := deadline_s - time.monotonic()) > 0:
            self._reported.wait(left_s)
            self._reported.clear()

    def _end(self) -> None:
        self._ending = True
        self.flush()

    def _run(self) -> None:
        phase_s = PERIOD_S * random.random()  # ranks that start together do not report together
        self._turn()
        while not self._ending:
            self._wake.wait(PERIOD_S if self.first is not None else phase_s or PERIOD_S)
            self._wake.clear()
            phase_s = 0.0
            self._turn()
        with suppress(Exception):
            if self.direct is not None:
                self.direct.close()

    def _turn(self) -> None:
        asked = self._asked
        try:
            if time.monotonic() >= self._next_s:
                self._report()
            if self.direct is not None:
                self.direct.turn(self._ending)
        except Exception as error:  # noqa: BLE001 - the thread goes on; what went wrong is told once
            self._hint(f"reporting failed: {type(error).__name__}: {error}")
        finally:
            self._done = asked
            self._reported.set()

    def _report(self) -> None:
        from energy_agent.client.agent import agent_socket, ask

        try:
            status, found = ask("POST", "/v1/training", self._told())
        except (OSError, ValueError) as error:
            never = self.first is None and not agent_socket().exists()
            self._silent(f"no agent answers at {agent_socket()} ({error})", at_once=never)
            return
        if status == 202:
            self._silent_since_s, self.reason = None, str(found.get("reason", ""))
            self.answer = found
            self.first = self.first or found
            if self.direct is not None:
                self.direct.close()
                self.direct = None
        elif status == 429 or status >= 500:
            self._next_s = time.monotonic() + 2 * PERIOD_S
        else:
            self._next_s = time.monotonic() + _SLOW_S
            self._hint(f"the agent does not take the reports of this process: {found.get('reason', status)}")
            self._silent("", at_once=True)

    def _silent(self, why: str, *, at_once: bool = False) -> None:
        """There is no agent for us: after a while, energy is read directly."""
        now_s = time.monotonic()
        self._silent_since_s = now_s if self._silent_since_s is None else self._silent_since_s
        if self.direct is None and not self._ending and (at_once or now_s - self._silent_since_s >= _PATIENCE_S):
            self.direct = Direct()
            if why:
                self._hint(f"{why}: energy is read by this process alone, and enters no ledger (docs/training.md)")

    def _hint(self, text: str) -> None:
        if text not in self._hinted and not self.quiet and len(self._hinted) < 3:
            self._hinted.add(text)
            with suppress(Exception):
                sys.stderr.write(f"wattlens: {text}\n")


class Direct:
    """Energy of the visible GPUs by windows that follow each other."""

    def __init__(self) -> None:
        self.joules: float | None = None
        self.power_w: float | None = None
        self.reason = _NOTHING
        self._count = 0
        self._window: Any = None
        self._since_s = 0.0
        self._open()

    def _open(self) -> None:
        from energy_agent.client.measurement import measure

        self._window, self._since_s = measure("training", sync=False), time.monotonic()
        self._window.__enter__()

    def turn(self, last: bool) -> None:
        """Close a window that is long enough, or the last one, and add it."""
        if self._window is None:
            return
        length_s = time.monotonic() - self._since_s
        if not last and length_s < _WINDOWS_S[min(self._count, len(_WINDOWS_S) - 1)]:
            return
        done = self._window
        self._window = None
        if not last:
            self._open()
        done.__exit__()
        joules = done.joules
        self._count += 1
        if joules is None:
            self.reason = done.reason
            if not done.by_device:
                self.close()  # there is nothing to read here
            return
        self.joules, self.power_w, self.reason = (self.joules or 0.0) + joules, joules / (done.seconds or 1.0), ""

    def close(self) -> None:
        """No more windows."""
        if self._window is not None:
            self._window.__exit__()
            self._window = None


def since(first: Mapping[str, Any], now: Mapping[str, Any], answer: Mapping[str, Any] | None, reporter: Reporter) -> Status:
    """Status of a run that began when the counts were `first` and the agent had said `answer`."""
    steps = now["steps"].get("training", 0) - first["steps"].get("training", 0)
    tokens, loss, last = now["tokens"] - first["tokens"], now["loss"], reporter.answer
    direct = reporter.direct
    if direct is not None:
        return Status("nvml", direct.joules, direct.power_w, steps, tokens, loss, "", direct.reason)
    if last is None:
        return Status("", None, None, steps, tokens, loss, "", reporter.reason)
    workload = str(last.get("workload", ""))
    if "joules" not in last:
        return Status("agent", None, None, steps, tokens, loss, workload, reporter.reason)
    before = answer or {}
    powers = [device["power_w"] for device in last["devices"] if "power_w" in device]
    return Status(
        "agent",
        last["joules"] - before.get("joules", 0.0),
        sum(powers) if powers else None,
        last["steps"].get("training", 0) - before.get("steps", {}).get("training", 0),
        last["tokens"] - before.get("tokens", 0),
        loss,
        workload,
        "",
    )
