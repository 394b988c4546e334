"""`measure`: joules of a block or function. Entering and leaving take a time stamp each; who asks for the result waits."""

import functools
import inspect
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.sdk.measure.connection import SamplerConnection, connection
from energy_agent.sdk.measure.span import WindowSpan, open_span
from energy_agent.sdk.measure.visible import describe_gpus, parse_names
from energy_agent.sdk.measure.window_tokens import CountedTokens

if TYPE_CHECKING:
    from energy_agent.sdk.measure.window_tokens import PerToken

F = TypeVar("F", bound=Callable[..., Any])
Gpus = str | int | Sequence[str | int]
GAIN_UNCERTAINTY_RATIO = 0.05
"""Systematic error of a board's sensor that was never calibrated (docs/measure.md)."""
_CALLS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """One device's part of a window, J. Without `joules` the reason says why.

    Args:
        joules: by the GPU's own sensor.
        low: least energy that was really drawn, gain error included.
        high: most.
        edge_joules: half-width of what the window adds, gain error left out.
        method: counter; sampling counter, where it may add up samples of power; counter interpolation, where power within its
            ticks differs from the model; integrated power, where there is no counter; agent.
        reason: why there is no number, or why its interval is wide.
    """

    joules: float | None
    low: float | None
    high: float | None
    edge_joules: float | None
    method: str
    reason: str


class measure:  # noqa: N801 - reads as a statement: with measure("step") as m
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
        self.name = name
        self._sync = sync
        self._open = False
        self._gain = gain_uncertainty_ratio
        self._gpus = _gpu_names(gpus)
        self._connection: SamplerConnection | None = None
        self._number = self._start_ns = 0
        self._end_ns: int | None = None
        self._by_device: Mapping[str, DeviceEnergy] | None = None
        self._half_j: float | None = None
        self._why = ""
        self._simulated = False
        self._counted = CountedTokens()
        self._span: WindowSpan | None = None
        self._asking = threading.Lock()

    def prepare(self) -> Self:
        """Start the sampler where none runs, so that the first window need not; waits for it."""
        self._connection = connection(self._gpus)
        return self

    def __enter__(self) -> Self:
        if self._open:
            raise RuntimeError("measure: this window is already open; use a separate object for each window and thread")
        self._by_device, self._half_j, self._end_ns, self._counted = None, None, None, CountedTokens()
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
    def seconds(self) -> float | None:
        """Length of the window; None while it is open."""
        return None if self._end_ns is None else (self._end_ns - self._start_ns) / NS_PER_S

    @property
    def opened_ns(self) -> int:
        """When the window began, ns of the node's boot clock; 0 before."""
        return self._start_ns

    @property
    def by_device(self) -> Mapping[str, DeviceEnergy]:
        """Each visible GPU's part, by UUID; {} where nothing could be read, or the window is open."""
        if self._end_ns is None or self._connection is None:
            return {}
        with self._asking if self._span is not None else nullcontext():  # the thread that ends the span asks too
            if self._by_device is None:
                answer = self._ask(self._connection, self._end_ns)
                self._why = str(answer.get("reason", ""))
                self._half_j = answer.get("half_j")
                self._by_device = {u: self._device(device) for u, device in answer.get("devices", {}).items()}
            return self._by_device

    @property
    def gpus(self) -> str:
        """The GPUs of the window in words, such as `all 8 GPUs` of the machine or `GPUs 4-5`; "" where none was read."""
        devices, indices = self.by_device, self.gpu_indices
        if indices.keys() >= devices.keys() and devices and self._connection is not None:
            return describe_gpus((indices[uuid] for uuid in devices), self._connection.count)
        return f"{len(devices)} GPU{'s' if len(devices) > 1 else ''}" if devices else ""

    @property
    def gpu_indices(self) -> Mapping[str, int]:
        """The place of each GPU in the machine, from 0, by UUID, as far as it is known."""
        return {} if self._connection is None else self._connection.indices

    @property
    def joules(self) -> float | None:
        """Energy by the GPUs' own sensors."""
        return self._sum("joules")

    @property
    def low(self) -> float | None:
        """Least energy really drawn: gain errors add up, edges as independent ones do."""
        joules, edge = self.joules, self.edge_joules
        return None if joules is None or edge is None else max(0.0, joules - edge) / (1.0 + self._gain)

    @property
    def high(self) -> float | None:
        """Most energy really drawn."""
        joules, edge = self.joules, self.edge_joules
        return None if joules is None or edge is None else (joules + edge) / (1.0 - self._gain)

    @property
    def edge_joules(self) -> float | None:
        """Half-width of what the window itself adds, without gain errors; GPUs that work in step add up linearly."""
        if self.joules is None:
            return None
        halves_j = sum(d.edge_joules or 0.0 for d in self.by_device.values())
        return halves_j if self._half_j is None else min(self._half_j, halves_j)

    @property
    def method(self) -> str:
        """How each GPU was measured, as in `DeviceEnergy`; several where they differ; "" where none was."""
        return ", ".join(sorted({d.method for d in self.by_device.values() if d.joules is not None}))

    @property
    def reason(self) -> str:
        """Why `joules` has no value; "" if it has one."""
        if self._connection is None:
            return "the window was never entered"
        if self._end_ns is None:
            return "the window is still open"
        devices = self.by_device
        return self._why or "; ".join(f"{uuid}: {d.reason}" for uuid, d in devices.items() if d.joules is None)

    @property
    def simulated(self) -> bool:
        """The GPUs are those of a simulated node."""
        return self._simulated or (self._connection is not None and self._connection.simulated)

    @property
    def gain_uncertainty_ratio(self) -> float:
        """Systematic error of the boards' sensors; the agent's, where that answered."""
        _ = self.by_device
        return self._gain

    @property
    def tokens(self) -> int | None:
        """Tokens that the program said it processed within the window; None where it said nothing."""
        return self._counted.tokens

    @tokens.setter
    def tokens(self, tokens: int) -> None:
        self._counted.set(tokens)

    def count(self, tokens: int | None = None, *, prompt: int | None = None, generation: int | None = None) -> None:
        """Add tokens that were processed: of any kind (say, trained), computed from prompts, generated. Of any thread.

        Raises:
            TypeError: one is not a whole number.
            ValueError: one is below 0.
        """
        self._counted.add(tokens, prompt, generation)

    @property
    def joules_per_token(self) -> "PerToken":
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

    def _ask(self, at: SamplerConnection, end_ns: int) -> Mapping[str, Any]:
        """From the sampler; where that can read nothing, from the node's agent, if one listens."""
        if not at.reason:
            return at.result(self._number)
        from energy_agent.runtime.network.agent_socket import agent_socket
        from energy_agent.sdk.agent import agent_window

        if not agent_socket().exists():
            return {"reason": at.reason}
        offset_ns = at.clock.utc_ns() - at.clock.boot_ns()
        reply = agent_window(self._start_ns + offset_ns, end_ns + offset_ns)
        self._simulated = bool(reply.get("simulated"))
        self._gain = max(
            (device["gain"] for device in reply.get("devices", {}).values() if "gain" in device), default=self._gain
        )
        if "reason" in reply:
            return {"reason": f"{at.reason}; {reply['reason']}"}
        return reply if not self._gpus else _narrowed(reply, self._gpus.split(","))

    def _sum(self, field: str) -> float | None:
        if self.reason or not self.by_device:
            return None
        return float(sum(getattr(d, field) for d in self.by_device.values()))

    def _device(self, device: Mapping[str, Any]) -> DeviceEnergy:
        if "joules" not in device:
            return DeviceEnergy(None, None, None, None, str(device.get("method", "")), str(device.get("reason", "not read")))
        joules, half_j = float(device["joules"]), float(device["half_j"])
        low, high = max(0.0, joules - half_j) / (1.0 + self._gain), (joules + half_j) / (1.0 - self._gain)
        return DeviceEnergy(joules, low, high, half_j, str(device["method"]), str(device.get("reason", "")))


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


def _narrowed(reply: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """An agent's reply with these GPUs alone, which it knows by UUID."""
    devices = reply.get("devices", {})
    chosen = {u: device for u, device in devices.items() if any(n.startswith("GPU-") and u.startswith(n) for n in names)}
    if len(chosen) < len(names):
        return {"reason": f"the agent, which identifies GPUs by UUID, has no energy of GPUs {','.join(names)}"}
    return {**reply, "devices": chosen}


def _digits(value: float) -> str:
    """Four digits, without an exponent where it is large."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _synchronize() -> None:
    """Work that was only launched belongs to the window that launched it. PyTorch is never imported for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
