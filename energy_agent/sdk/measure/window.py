"""Results of a measured window: joules of each GPU, their bounds and how they were measured."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from energy_agent.core.units import NS_PER_S
from energy_agent.sdk.measure.connection import SamplerConnection
from energy_agent.sdk.measure.visible import describe_gpus
from energy_agent.sdk.measure.window_tokens import CountedTokens


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


class MeasuredWindow:
    """What `measure` reports of its window; see there."""

    def __init__(self, name: str, gain_uncertainty_ratio: float, gpus: str) -> None:
        self.name = name
        self._gain = gain_uncertainty_ratio
        self._gpus = gpus
        self._connection: SamplerConnection | None = None
        self._number = self._start_ns = 0
        self._why = ""
        self._simulated = False
        self._asking = threading.RLock()
        self._reset()

    def _reset(self) -> None:
        self._end_ns: int | None = None
        self._by_device: Mapping[str, DeviceEnergy] | None = None
        self._half_j: float | None = None
        self._counted = CountedTokens()

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
        with self._asking:  # the thread that ends the span asks too
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


def _narrowed(reply: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """An agent's reply with these GPUs alone, which it knows by UUID."""
    devices = reply.get("devices", {})
    chosen = {u: device for u, device in devices.items() if any(n.startswith("GPU-") and u.startswith(n) for n in names)}
    if len(chosen) < len(names):
        return {"reason": f"the agent, which identifies GPUs by UUID, has no energy of GPUs {','.join(names)}"}
    return {**reply, "devices": chosen}
