"""Context of the checks: configuration, paths of the node, and NVML's responses to a child process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from energy_agent.config.agent import Config
from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.ports import Clock


@dataclass(frozen=True, slots=True)
class NvmlFailure:
    """Why NVML, or one GPU, did not respond: the code's name (or HANG, DIED) and the call."""

    reason: str
    call: str


@dataclass(frozen=True, slots=True)
class DeviceAnswers:
    """One GPU, read as the agent reads it. `persistence_absent` explains a missing `persistence`."""

    index: int
    info: DeviceInfo
    sample: DeviceSample
    persistence: bool | None
    persistence_absent: str
    read_s: float  # one full reading, process list included


@dataclass(frozen=True, slots=True)
class NvmlAnswers:
    """Responses of NVML. `fatal` is set if NVML as a whole failed."""

    driver: str = ""
    nvml: str = ""
    library: str = ""
    count: int = 0
    devices: Mapping[int, DeviceAnswers] = field(default_factory=dict)
    troubles: Mapping[int, NvmlFailure] = field(default_factory=dict)
    fatal: NvmlFailure | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """Everything a check may read. `root` is the parent of the machine's /sys, /run, /dev and /var."""

    config: Config
    state: Path
    listen: str
    simulate: Path | None
    environ: Mapping[str, str]
    clock: Clock
    procfs: Path
    probe: NvmlAnswers
    began_utc_ns: int
    began_boot_ns: int
    root: Path = Path("/")
