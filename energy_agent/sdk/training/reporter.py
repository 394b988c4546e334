"""Background thread that reports a training process's counts to the node's agent and keeps the agent's responses.

Reports are cumulative: the next one replaces a lost one, and reporting continues after a restart of the agent. Without an agent
the thread measures the energy of the process's GPUs itself, through the sampler of `measure`, window after window.
"""

import _thread
import atexit
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import isfinite
from typing import Any

from energy_agent.sdk.training.progress import (
    DIRECT,
    NOTHING,
    ReturnedAgent,
    RunBaseline,
    RunTotals,
    SourceView,
    advance_view,
    counts,
    status,
)
from energy_agent.sdk.training.step_reports import send_report

START = RunTotals(seconds=0.0)
"""Before the first window: nothing was drawn, in no time."""
WINDOWS_S = (1.0, 3.0, 10.0)  # length of the first windows, and of all that follow
_LEAST = 0.01
"""A smaller share is not worth a line."""
PERIOD_S = 1.0
_SLOW_S = 30.0  # interval of requests to an agent that refused us
_PATIENCE_S = 3.0  # without an agent for so long, NVML is read directly
_FLUSH_S = 1.0
_REFRESH_S = 5.0


class Direct:
    """Energy of the visible GPUs without an agent: windows that follow each other, with what was counted within each of them.

    A window that could not be read takes its steps and tokens with it: they are left out as its joules are.
    """

    def __init__(self, counted: Callable[[], tuple[int, int]], measure: Callable[[], Any] | None = None) -> None:
        """`counted`: steps and tokens of this process by now. `measure` makes a window; by default over the visible GPUs."""
        self._counted, self._measure = counted, measure or _window
        self.totals = START
        self.power_w: float | None = None
        self.reason = NOTHING
        self.gpus = ""
        self.simulated = False
        self._count = 0
        self._window: Any = None
        self._began, self._since_s = (0, 0), 0.0
        self._open()

    def _open(self) -> None:
        self._window = self._measure()
        self._window.__enter__()
        self._since_s, self._began = time.monotonic(), self._counted()

    def turn(self, *, cut: bool = False, last: bool = False) -> bool:
        """Close a window that is long enough, or is to be cut, and add it; whether one was closed."""
        if self._window is None:
            return False
        if not (cut or last) and time.monotonic() - self._since_s < WINDOWS_S[min(self._count, len(WINDOWS_S) - 1)]:
            return False
        done, began = self._window, self._began
        self._window = None
        if last:
            ended = self._counted()
        else:
            self._open()
            ended = self._began
        done.__exit__()
        self._count = 0 if cut else self._count + 1  # a run that has just begun is not to wait long for its first joules
        joules = done.joules
        if joules is None:
            self.reason = done.reason
            if not done.by_device:
                self.close()  # there is nothing to read here
            return True
        before, seconds = self.totals, done.seconds or 0.0
        steps, tokens = (now - then for now, then in zip(ended, began, strict=True))
        self.totals = RunTotals(
            before.joules + joules, before.steps + steps, before.tokens + tokens, before.readings + 1,
            (before.edge_j or 0.0) + done.edge_joules, done.gain_uncertainty_ratio, (before.seconds or 0.0) + seconds,
        )  # fmt: skip
        self.power_w, self.reason, self.gpus = joules / (seconds or 1.0), "", done.gpus
        self.simulated = bool(done.simulated)
        return True

    def close(self) -> None:
        """No more windows."""
        if self._window is not None:
            self._window.__exit__()
            self._window = None


def _window() -> Any:
    from energy_agent.sdk.measure.measurement import measure

    return measure("training", sync=False)


def shadow_hint(reply: Mapping[str, Any]) -> str:
    """The line at the end of a run on the saving that steering would have made; "" outside of mode shadow, or without one."""
    expected = reply.get("predicted_saving")
    if reply.get("mode") != "shadow" or not isinstance(expected, Mapping):
        return ""
    ratio, low, high = (_number(expected.get(name)) for name in ("ratio", "lower", "upper"))
    if ratio is None or low is None or high is None or ratio < _LEAST:
        return ""
    slowdown = _number(reply.get("slowdown"))
    within = "" if slowdown is None else f" within a slowdown of {_percent(slowdown)} %"
    interval = f"({_percent(low)} to {_percent(high)} %)"
    return f"steering would have saved {_percent(ratio)} % {interval} of this run's energy{within}; docs/dvfs.md"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.0f}" if abs(ratio) >= 0.095 else f"{100 * ratio:.2g}"


class Reporter:
    """Sends reports of the training to the agent. One per process; it starts with the first step."""

    def __init__(self, current_report: Callable[[], dict[str, Any]]) -> None:
        self._current_report = current_report
        self._wake, self._reported = threading.Event(), threading.Event()
        self._ending = self.started = self.quiet = False
        self._asked = self._done = 0
        self._hinted: set[str] = set()
        self._next_s = 0.0
        self._silent_since_s: float | None = None
        self._returned: ReturnedAgent | None = None
        self._heard = False
        self._look_s = 0.0  # when it is looked again what steering promises
        self._promised = ""
        self._measured = False  # a `wattlens measure` above takes the reports
        self._refreshed_s = -_REFRESH_S
        self.view = SourceView()
        self._direct: Direct | None = None
        self._bases: list[RunBaseline] = []  # of runs that began within the window that is open
        self._basing = threading.Lock()

    def start(self) -> None:
        """Begin to report. Does not wait for the thread, as `threading.Thread.start` does."""
        if not self.started:
            self.started = True
            _thread.start_new_thread(self._run, ())
            atexit.register(self._end)

    def base(self) -> RunBaseline:
        """The baseline of a run that begins now. Does not wait: the energy of an open window is added when it closes."""
        with self._basing:
            view = self.view
            if view.source != DIRECT:
                return RunBaseline(view.interval, view.last or view.first)
            baseline = RunBaseline(view.interval, None)
            self._bases.append(baseline)
        self._asked += 1
        self._wake.set()
        return baseline

    def flush(self, *, ending: bool = False) -> None:
        """Report now; waits for it, a second at most. `ending`: for the last time."""
        if not self.started:
            return
        self._next_s, self._asked, deadline_s = 0.0, self._asked + 1, time.monotonic() + _FLUSH_S
        mine = self._asked
        self._ending |= ending  # only now: the thread that sees it sends the requested report and then ends
        self._wake.set()
        while self._done < mine and (left_s := deadline_s - time.monotonic()) > 0:
            self._reported.wait(left_s)
            self._reported.clear()

    def refresh(self) -> None:
        """Read the energy now, where the last such reading is some seconds old; waits for it, a second at most."""
        now_s = time.monotonic()
        if self.started and now_s - self._refreshed_s >= _REFRESH_S:
            self._refreshed_s = now_s
            self.flush()

    def _end(self) -> None:
        measured = False
        with suppress(Exception):  # by this thread: the other one may be waiting for an agent that does not answer
            measured = send_report(self._current_report())
        self.flush(ending=True)
        self._measured |= measured
        with suppress(Exception):
            self._summarize()

    def _summarize(self) -> None:
        """One line of what the run used, by the rank that speaks for all; under `wattlens measure` that command has it."""
        report = self._current_report()
        run = counts(report)
        if self.quiet or os.environ.get("WATTLENS_SUMMARY") == "0" or report["rank"] or not run[0] or self._measured:
            return
        self._write(str(status(RunBaseline(-1, None), self.view, run, report["loss"], report["world"])))

    def _run(self) -> None:
        phase_s = PERIOD_S * random.random()  # ranks that start together do not report together
        self._turn(last=False)
        last = False
        while not last:
            self._wake.wait(PERIOD_S if self._heard else phase_s or PERIOD_S)
            self._wake.clear()
            phase_s = 0.0
            last = self._ending  # a process that ends within a turn has one more
            self._turn(last=last)
        with suppress(Exception):
            if self._direct is not None:
                self._direct.close()

    def _turn(self, *, last: bool) -> None:
        asked = self._asked
        try:
            self._measured = send_report(self._current_report())
            if time.monotonic() >= self._next_s:
                self._report()
            if last and self._promised:
                payload, self._promised = self._promised, ""
                self._write(payload)
            if self._direct is not None and self._direct.turn(cut=asked > self._done, last=last):
                self._read(self._direct)
        except Exception as error:  # noqa: BLE001 - the thread goes on; the failure is logged once
            self._hint(f"reporting failed: {type(error).__name__}: {error}")
        finally:
            self._done = asked
            self._reported.set()

    def _report(self) -> None:
        from energy_agent.runtime.network.agent_socket import agent_socket, ask
        from energy_agent.sdk.agent import describe_silence

        try:
            report = self._current_report()
            status, reply = ask("POST", "/v1/training", report)
        except (OSError, ValueError) as error:
            never = not self._heard and not agent_socket().exists()
            self._silent(partial(describe_silence, error), at_once=never)
            return
        if status == 202:
            self._silent_since_s, self._heard = None, True
            self._take_reply(reply)
            self._look(report)
        elif status == 429 or status >= 500:
            self._next_s = time.monotonic() + 2 * PERIOD_S
        else:
            self._next_s = time.monotonic() + _SLOW_S
            self._hint(f"the agent rejects the reports of this process: {reply.get('reason', status)}")
            self._silent(None, at_once=True)

    def _look(self, report: dict[str, Any]) -> None:
        """Report at the end what steering would have saved, from the rank that reports for all."""
        from energy_agent.runtime.network.agent_socket import ask

        now_s = time.monotonic()
        if self.quiet or report.get("rank") or (now_s < self._look_s and not self._ending):
            return
        self._look_s = now_s + _SLOW_S
        with suppress(OSError, ValueError):
            status, reply = ask("GET", "/v1/dvfs")
            # A group whose steps have ended is not steered any more; the last projected saving still holds.
            if status == 200 and reply.get("mode"):
                self._promised = shadow_hint(reply)

    def _take_reply(self, reply: dict[str, Any]) -> None:
        if "joules" not in reply and "node" not in reply:
            return  # it has just begun, and does not know yet what there was
        afresh = self._direct is not None
        if self._direct is not None:
            self._returned = self._returned or ReturnedAgent(time.monotonic())
            if "joules" in reply and not self._returned.is_settled(reply, time.monotonic()):
                return
            self._direct.close()
            self._direct, self._returned = None, None
        with self._basing:
            self._bases.clear()  # theirs was an interval that is over
            self.view = advance_view(self.view, reply, afresh=afresh)

    def _read(self, direct: Direct) -> None:
        """A window was closed: runs that began within it, or before, begin here."""
        with self._basing:
            for base in self._bases:
                base.totals = direct.totals
            self._bases.clear()
            read = direct.totals if direct.totals.readings else None
            self.view = SourceView(
                self.view.interval, DIRECT, START, read, direct.power_w, "", direct.reason, direct.gpus, direct.simulated
            )

    def _silent(self, why: Callable[[], str] | None, *, at_once: bool = False) -> None:
        """There is no agent for us: after a while, energy is read directly."""
        now_s = time.monotonic()
        self._silent_since_s = now_s if self._silent_since_s is None else self._silent_since_s
        self._returned = None
        if self._direct is None and not self._ending and (at_once or now_s - self._silent_since_s >= _PATIENCE_S):
            self._direct = Direct(lambda: counts(self._current_report()))
            with self._basing:
                self.view = SourceView(self.view.interval + 1, DIRECT, START)
            if why is not None and not self._measured:  # otherwise `wattlens measure` reports the energy
                self._hint(f"{why()}; this process measures its GPUs itself, and no ledger records it (docs/training.md)")

    def _hint(self, text: str) -> None:
        if text not in self._hinted and not self.quiet and len(self._hinted) < 3:
            self._hinted.add(text)
            self._write(text)

    def _write(self, text: str) -> None:
        with suppress(Exception):
            sys.stderr.write(f"wattlens: {text}\n")
