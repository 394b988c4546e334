"""A measured window as a span of the program's OpenTelemetry trace, where the program has one.

OpenTelemetry is never imported here: a program whose context has a span has done so. The energy is known some tenths of a
second after the window's end, so a thread waits for it and then ends the span with the window's own end time.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Mapping
from queue import Empty, Full, Queue
from typing import Any, Final

from energy_agent.core.catalogue.opentelemetry import ABSENT_REASON, Attribute, energy_attributes
from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.measure.window import MeasuredWindow

WAITING_LIMIT: Final = 1_000
"""Windows that wait for their energy; spans of further ones end without it."""
_AT_EXIT_S: Final = 2.0


class WindowSpan:
    """An open span of a window, or of a training run."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def end(self, window: MeasuredWindow, error: BaseException | None) -> None:
        """End it now; its energy follows in the background."""
        end_ns = time.time_ns()
        self._record(error)
        if not _finisher.add(self._span, window, end_ns):
            self._span.set_attribute(ABSENT_REASON, "too many windows wait for their energy")
            self._span.end(end_time=end_ns)

    def end_with(self, attributes: Mapping[str, Attribute], error: BaseException | None) -> None:
        """End it now, with attributes that are known already."""
        self._record(error)
        for name, value in attributes.items():
            self._span.set_attribute(name, value)
        self._span.end()

    def _record(self, error: BaseException | None) -> None:
        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR, type(error).__name__)


def open_span(name: str) -> WindowSpan | None:
    """A span for a window that begins now, as a child of the current span; None where the program has no current span."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return None
    return WindowSpan(trace.get_tracer("wattlens").start_span(name or MeasuredWindow, start_time=time.time_ns()))


def _attributes(window: MeasuredWindow, opened_ns: int) -> Mapping[str, Attribute]:
    """Attributes of a window that began then. Waits for its closing tick."""
    joules = window.joules
    attributes = {"wattlens.simulated": window.simulated, **energy_attributes(joules, window.low, window.high, window.reason)}
    if joules is not None:
        attributes |= {"wattlens.energy.method": window.method, "wattlens.gpus": window.gpus}
    if window.opened_ns != opened_ns:
        return {ABSENT_REASON: "the window was entered again before its energy was known"}
    return attributes if window.tokens is None else attributes | {"wattlens.tokens": window.tokens}


class _Finisher:
    """Ends spans in a thread of its own, one after another."""

    def __init__(self) -> None:
        self._waiting: Queue[tuple[Any, MeasuredWindow, int, int]] = Queue(WAITING_LIMIT)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, span: Any, window: MeasuredWindow, end_ns: int) -> bool:
        """Whether there was room for it."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wattlens-spans", daemon=True)
                start_thread(self._thread)
                atexit.register(self._finish)  # before the tracer's own, which was registered earlier
        try:
            self._waiting.put_nowait((span, window, window.opened_ns, end_ns))
        except Full:
            return False
        return True

    def _run(self) -> None:
        while True:
            span, window, opened_ns, end_ns = self._waiting.get()
            try:
                for name, value in _attributes(window, opened_ns).items():
                    span.set_attribute(name, value)
            except Exception as error:  # noqa: BLE001 - the span of the program has to end
                span.set_attribute(ABSENT_REASON, f"{type(error).__name__}: {error}")
            span.end(end_time=end_ns)
            self._waiting.task_done()

    def _finish(self) -> None:
        """At the program's end: wait for what is on its way, and end the rest without energy."""
        deadline_s = time.monotonic() + _AT_EXIT_S
        while self._waiting.unfinished_tasks and time.monotonic() < deadline_s:
            time.sleep(0.01)
        while True:
            try:
                span, _, _, end_ns = self._waiting.get_nowait()
            except Empty:
                return
            span.set_attribute(ABSENT_REASON, "the program ended before the energy was known")
            span.end(end_time=end_ns)


_finisher = _Finisher()


def _forked() -> None:
    global _finisher
    _finisher = _Finisher()  # the thread and its windows are the parent's


os.register_at_fork(after_in_child=_forked)
