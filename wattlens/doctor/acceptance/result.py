"""The result of `wattlens doctor --acceptance`, with the limits of each field: a contributed one is hostile input. Pure.

It names no host, user, serial number or UUID; `label` is the user's own text.
"""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

SCHEMA: Final = 1
GPUS_MAX: Final = 64
LABEL: Final = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}"
_STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ()+._/-]{0,79}$", max_length=80)]
"""A name or version; harmless in a Markdown table, a terminal and a shell."""
Reason = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=300)]
SensorName = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Count = Annotated[int, Field(ge=0, le=10**9)]
Amount = Annotated[float, Field(ge=0, le=1e12)]
Signed = Annotated[float, Field(ge=-1e12, le=1e12)]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its bounds; without one, `reason`."""

    value: Signed | None = None
    lower: Signed | None = None
    upper: Signed | None = None
    reason: Reason = ""
    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, slots=True)
class GpuResult:
    """One GPU: the agent's energy against its raw counter, from the agent's first reading to its last one.

    Args:
        reason: why there is no comparison; "" if there is one.
        agent_j: energy that the agent recorded.
        counter_j: difference of the raw counter between the same two instants, within `lower` and `upper`: the counter's
            readings just before and just after each instant.
        intervals: intervals between two readings of the agent; `covered`: those whose bounds contain the counter's difference.
        miss_j: the largest distance of the counter's difference from the bounds of an interval.
        gap_j: increase of the agent's bound of energy that no sensor saw.
        silent_s: longest time without a new reading of the agent, the window's start and end included.
        resets: how often the raw counter fell.
        sensors: sensor parameters that `wattlens doctor --sensors` measures, by name.
    """

    index: Annotated[int, Field(ge=0, lt=GPUS_MAX)]
    model: Word
    architecture: Word
    reason: Reason = ""
    agent_j: Signed = 0.0
    counter_j: Estimate = Estimate()
    edge_j: Amount = 0.0
    intervals: Count = 0
    covered: Count = 0
    miss_j: Amount = 0.0
    gap_j: Signed = 0.0
    silent_s: Amount = 0.0
    resets: Count = 0
    idle_added_w: Estimate = Estimate()
    sensors: Annotated[dict[SensorName, Estimate | Word], Field(max_length=64)] | None = None
    __pydantic_config__: ClassVar = _STRICT

    @property
    def difference_j(self) -> float | None:
        """The agent's energy minus the counter's."""
        return None if self.counter_j.value is None else self.agent_j - self.counter_j.value


@dataclass(frozen=True, slots=True)
class EngineResult:
    """One inference engine: J per generated token of the agent, and of the raw counters over the engine's own count."""

    server: Word
    gpus: tuple[Annotated[int, Field(ge=0, lt=GPUS_MAX)], ...] = ()
    agent: Estimate = Estimate()
    engine: Estimate = Estimate()
    tokens: Count = 0
    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, slots=True)
class AgentResult:
    """The agent during the comparison.

    Args:
        private: started by the command; else the node's own.
        responses, failed: of its metrics endpoint.
        restarts, reader_restarts: of the agent and of its reader.
        cpu_ratio: mean CPU time of agent and reader per second.
        memory_b: resident memory of both at the end.
        cost_from: where these two come from.
        sweep_s: mean time of one reading of all GPUs.
    """

    private: bool
    version: Word
    responses: Count
    failed: Count
    restarts: Count
    reader_restarts: Count
    cpu_ratio: Amount
    memory_b: Annotated[int, Field(ge=0, le=1 << 50)]
    cost_from: Literal["/proc", "/metrics"]
    sweep_s: Amount
    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of acceptance. `passed` is None where it cannot be checked, for the reason in `actual`."""

    name: Word
    expected: Reason
    actual: Reason
    passed: bool | None
    __pydantic_config__: ClassVar = _STRICT


@dataclass(frozen=True, slots=True)
class AcceptanceResult:
    """The whole file. `key` is the public key of the signature as hex; "" if unsigned."""

    kind: Literal["acceptance"]
    schema: Literal[1]
    key: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    wattlens: Word
    label: Annotated[str, Field(pattern=rf"^({LABEL})?$")]
    simulated: bool
    day: Annotated[str, Field(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")]
    driver: Word
    nvml: Word
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    gpus: Annotated[tuple[GpuResult, ...], Field(min_length=1, max_length=GPUS_MAX)]
    agent: AgentResult
    engines: Annotated[tuple[EngineResult, ...], Field(max_length=64)] = ()
    engines_reason: Reason = ""
    sensors_reason: Reason = ""
    criteria: Annotated[tuple[Criterion, ...], Field(max_length=64)] = ()
    accepted: bool = False
    __pydantic_config__: ClassVar = _STRICT


def word(text: str) -> str:
    """A name by a driver or an agent, without characters that `Word` does not permit."""
    return re.sub(r"[^A-Za-z0-9 ()+._/-]", "-", text)[:80].lstrip(" ()+._/-") or "unknown"


def reason_text(text: str) -> str:
    """A reason as `Reason` permits it."""
    return re.sub(r"[^ -~]", "?", text)[:300]
