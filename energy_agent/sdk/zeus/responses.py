"""Parse the agent's responses about power limits of a job's own GPUs. Pure.

They are those of GET and POST /v1/dvfs, GET /v1/me and GET /v1/window (wattlens/steering/status.py, energy_agent).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

_SAME_W = 0.5


@dataclass(frozen=True, slots=True)
class OriginalLimits:
    """The job's GPUs on this node before the first request.

    Args:
        uuids: of the GPUs that this workload holds.
        limit_w: the highest of their power limits.
        least_limit_w: the lowest of them.
        floor_w: the lowest limit that all GPUs accept.
    """

    uuids: tuple[str, ...]
    limit_w: float
    least_limit_w: float
    floor_w: float


@dataclass(frozen=True, slots=True)
class SteeringReply:
    """The agent's answer about steering. `never`: why steering is not possible; `reason`: why it is off now; else ""."""

    policy: str = ""
    reason: str = ""
    never: str = ""
    in_force_w: Mapping[str, float] = field(default_factory=dict)  # by GPU; a GPU without an entry has its original limit
    wanted_w: Mapping[str, float] = field(default_factory=dict)
    uuids: tuple[str, ...] = ()

    def limit_w(self, asked_w: float, settled: bool) -> float | None:
        """The limit that is applied due to the request; None: no limit is applied, or not yet.

        The owner's allow-list may have moved it either way. `settled`: the request is old enough that a limit below it is a
        budget's cap and not the effect of an earlier request.
        """
        if "asked" not in self.policy or not self.uuids:
            return None
        limits = []
        for uuid in self.uuids:
            wanted, limit = self.wanted_w.get(uuid), self.in_force_w.get(uuid)
            if wanted is None or limit is None or wanted > asked_w + _SAME_W:
                return None
            if wanted < asked_w - _SAME_W and not settled:
                return None
            limits.append(limit)
        return max(limits)


def parse_reply(status: int, reply: Mapping[str, Any]) -> SteeringReply:
    """What an answer to GET or POST /v1/dvfs says."""
    reason = str(reply.get("reason", ""))
    if status in (200, 202):
        devices = [d for d in reply.get("devices", ()) if isinstance(d, Mapping)]
        uuids = tuple(str(d.get("uuid")) for d in devices)
        in_force, wanted = (_limits(devices, name) for name in ("setting", "wanted"))
        mode = str(reply.get("mode", ""))
        never = ""
        if mode in ("observe", "shadow"):
            never = f"its mode is {mode} for this workload; expected dvfs.mode: enforce and an actuator"
        return SteeringReply(str(reply.get("policy", "")), reason, never, in_force, wanted, uuids)
    if status == 429 or status >= 500:
        return SteeringReply(reason=reason or f"it responds with status {status}")
    return SteeringReply(reason=reason, never=reason or f"it responds with status {status}")


def _limits(devices: Collection[Mapping[str, Any]], name: str) -> dict[str, float]:
    limits = {}
    for device in devices:
        setting = device.get(name)
        limit = setting.get("power_limit_w") if isinstance(setting, Mapping) else None
        if isinstance(limit, int | float):
            limits[str(device.get("uuid"))] = float(limit)
    return limits


def found_of(me: Mapping[str, Any]) -> OriginalLimits | str:
    """The GPUs from an answer to GET /v1/me, or why they are unknown."""
    held = [d for d in me.get("devices", ()) if isinstance(d, Mapping) and d.get("held")]
    if not held:
        return str(me.get("reason") or "the agent has not seen this process on a GPU yet")
    try:
        limits = [float(d["power_limit_w"]) for d in held]
        floor = max(float(d["power_limit_range_w"][0]) for d in held)
        return OriginalLimits(tuple(str(d["uuid"]) for d in held), max(limits), min(limits), floor)
    except (KeyError, TypeError, ValueError, IndexError):
        return "the GPUs do not report their power limit and its range"


def parse_window_energy(reply: Mapping[str, Any], uuids: Collection[str]) -> dict[str, tuple[float, float]] | str:
    """Joules of a window with their half-width by GPU, from an answer to GET /v1/window, or why they are unknown."""
    devices = reply.get("devices")
    if not isinstance(devices, Mapping):
        return str(reply.get("reason", "the agent does not report the energy of this window"))
    joules = {}
    for uuid in uuids:
        one = devices.get(uuid, {})
        try:
            joules[uuid] = float(one["joules"]), float(one.get("half_j", 0.0))
        except (KeyError, TypeError, ValueError, AttributeError):
            return f"{uuid}: {one.get('reason', 'the agent does not report its energy') if isinstance(one, Mapping) else one}"
    return joules
