"""`measure`: joules of a block or function. Entering and leaving take a time stamp each; who asks for the result waits."""

import functools
import inspect
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, overload

from energy_agent.core.errors import WattlensError
from energy_agent.sdk.measure.connection import connection
from energy_agent.sdk.measure.span import WindowSpan, open_span
from energy_agent.sdk.measure.visible import parse_names
from energy_agent.sdk.measure.window import MeasuredWindow
from energy_agent.sdk.measure.window_tokens import PerToken

F = TypeVar("F", bound=Callable[..., Any])
Gpus = str | int | Sequence[str | int]
GAIN_UNCERTAINTY_RATIO = 0.05
"""Systematic error of a board's sensor that was never calibrated (docs/measure.md)."""
_CALLS_KEPT = 1000


class measure(MeasuredWindow):  # noqa: N801 - reads as a statement: with measure("step") as m
    """A window: `with measure("step") as m:`, `@measure` or `@measure("step")`.

    Args:
        name: what it is called.
        sync: "auto" waits for the GPU at both ends when PyTorch is imported and has initialised CUDA; False never does.
        gain_uncertainty_ratio: systematic error of the boards' sensors; their calibration where they have one.
        gpus: GPUs to measure: an index as in `nvidia-smi -i`, a UUID, a text such as "0,2-3", or a list of these. By default
            all that CUDA_VISIBLE_DEVICES leaves, which is all of the machine where it is not set.

    `joules`, `low`, `high`, `by_device`, `method` and `reason` are of the sum of these GPUs. They wait for two ticks of the
    counters after the window and their delay, 0.2 s while it is unknown. If any of the GPUs was not read, `joules` has the
    value None, not 0, and `reason` is set.

    >>> with measure("sum") as window:
    ...     total = sum(range(1_000_000))
    >>> window.low <= window.joules <= window.high, window.gpus, window.method
    (True, 'GPU 0', 'counter')
    """

    @overload
    def __new__(cls, name: F, /) -> F: ...  # type: ignore[misc]
    @overload
    def __new__(
        cls,
        name: str = ...,
        *,
        sync: Literal["auto", False] = ...,
        gain_uncertainty_ratio: float = ...,
        gpus: "Gpus | None" = ...,
    ) -> Self: ...
    def __new__(  # type: ignore[misc]
        cls,
        name: object = "",
        *,
        sync: Literal["auto", False] = "auto",
        gain_uncertainty_ratio: float = GAIN_UNCERTAINTY_RATIO,
        gpus: "Gpus | None" = None,
    ) -> Self:
        """As a bare decorator, `@measure`, it is the function that comes back."""
        if callable(name):
            return cls(getattr(name, "__qualname__", ""))(name)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        name: str = "",
        *,
        sync: Literal["auto", False] = "auto",
        gain_uncertainty_ratio: float = GAIN_UNCERTAINTY_RATIO,
        gpus: "Gpus | None" = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"measure: name: expected text, got {name!r}")
        if sync not in ("auto", False):
            raise ValueError(f"measure: sync: expected 'auto' or False, got {sync!r}")
        if not 0 <= gain_uncertainty_ratio < 1:
            raise ValueError(
                f"measure: gain_uncertainty_ratio: expected a number from 0 to below 1, got {gain_uncertainty_ratio!r}"
            )
        super().__init__(name, gain_uncertainty_ratio, _gpu_names(gpus))
        self._sync = sync
        self._open = False
        self._span: WindowSpan | None = None

    def prepare(self) -> Self:
        """Start the sampler where none runs, so that the first window need not; waits for it."""
        self._connection = connection(self._gpus)
        return self

    def __enter__(self) -> Self:
        if self._open:
            raise RuntimeError("measure: this window is already open; use a separate object for each window and thread")
        self._reset()
        at = self._connection
        if at is None or at.dead:
            at = self._connection = connection(self._gpus)
        if self._sync:
            _synchronize()
        self._span = open_span(self.name)
        self._number, self._start_ns = at.open()
        self._open = True
        return self

    def __exit__(self, kind: object = None, error: BaseException | None = None, traceback: object = None) -> None:
        if self._sync:
            _synchronize()
        if not self._open or self._connection is None:
            raise RuntimeError("measure: this window was not opened, or is already closed")
        self._open = False
        self._end_ns = self._connection.close(self._number)
        if self._span is not None:
            self._span.end(self, error)

    def __call__(self, function: F) -> F:
        """As a decorator: every call is a window of its own; `function.windows` keeps the last ones."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                "measure: cannot decorate a generator, because other code runs between its steps; use `with measure()` "
                "around the loop that consumes it"
            )
        windows: deque[measure] = deque(maxlen=_CALLS_KEPT)

        def window() -> measure:
            measurement = measure(self.name, sync=self._sync, gain_uncertainty_ratio=self._gain, gpus=self._gpus or None)
            windows.append(measurement)
            return measurement

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                with window():
                    return await function(*args, **kwargs)

            wrapper: Any = asynchronous
        else:

            @functools.wraps(function)
            def synchronous(*args: Any, **kwargs: Any) -> Any:
                with window():
                    return function(*args, **kwargs)

            wrapper = synchronous
        wrapper.windows = windows
        return wrapper  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """What a person wants to see of it; waits, as `joules` does, where the window has ended."""
        head = f"measure({self.name!r}): " if self.name else "measure(): "
        if self._end_ns is None:
            return head + self.reason
        seconds = self.seconds or 0.0
        text = head + (f"{_digits(seconds)} s, " if seconds >= 1 else f"{_digits(1e3 * seconds)} ms, ")
        joules, low, high = self.joules, self.low, self.high
        if joules is None or low is None or high is None:
            return f"{text}not measured: {self.reason}"
        gpus = self.gpus
        real = ", simulated" if self.simulated else ""
        return f"{text}{_digits(joules)} J ({_digits(low)} to {_digits(high)}), {gpus}{real}, {self.method}"

    @property
    def joules_per_token(self) -> PerToken:
        """J per token of `tokens`: `joules`, `low` and `high`, all None with a `reason` if it is not available."""
        from energy_agent.sdk.measure.saved import joules_per

        return joules_per(self, self.tokens, 0.0)

    def save(self, path: str | Path, labels: Mapping[str, str] | None = None) -> None:
        """Write the window as JSON, for `wattlens compare` (docs/measure.md).

        Args:
            path: of the file.
            labels: what the run was, such as {"precision": "int8", "batch": "32"}.

        Raises:
            OSError: it cannot be written.
            ValueError: the labels are too many or too long.
        """
        import json

        from energy_agent.sdk.measure.saved import checked_labels, saved

        run = saved(self, tokens=self._counted.as_window_tokens(), labels=checked_labels(labels or {}))
        Path(path).write_text(json.dumps(run, indent=2) + "\n")


def _gpu_names(gpus: "Gpus | None") -> str:
    """GPUs as the sampler's argument: their names joined by commas; "" for those that the process may use."""
    if gpus is None:
        return ""
    names = [gpus] if isinstance(gpus, str | int) else list(gpus)
    wrong = next((name for name in names if isinstance(name, bool) or not isinstance(name, str | int)), None)
    if wrong is not None:
        raise TypeError(f"measure: gpus: expected indices and UUIDs, or a text such as '0,2-3', got {gpus!r}")
    listed = ",".join(map(str, names))
    try:
        parse_names(listed)
    except WattlensError as error:
        raise ValueError(f"measure: gpus: {error}") from None
    return listed


def _digits(value: float) -> str:
    """Four digits, without an exponent where it is large."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _synchronize() -> None:
    """Work that was only launched belongs to the window that launched it. PyTorch is never imported for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
