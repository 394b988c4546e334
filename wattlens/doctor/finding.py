"""What checks of the doctor read and what they yield: the node's facts, and findings with a level, a meaning and a fix.

Plain data; no I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from energy_agent.config.agent import Config
from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.ports import Clock

T = TypeVar("T")


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

    def group_by(self, answer: Callable[[DeviceAnswers], T]) -> dict[T, tuple[int, ...]]:
        """Indices of the GPUs by what each answers, in their order."""
        groups: dict[T, tuple[int, ...]] = {}
        for index, device in sorted(self.devices.items()):
            groups[answer(device)] = (*groups.get(answer(device), ()), index)
        return groups


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


class FindingLevel(StrEnum):
    """Level of a finding."""

    OK = "ok"
    WARN = "warn"  # the agent runs, but something is worse than it could be
    FAIL = "fail"  # does not work
    ABSENT = "absent"  # is not on this node, or cannot be known; the agent goes without


GROUPS = ("software", "driver", "gpus", "holders", "node", "agent", "actuator")
"""Parts of the page, in its order."""


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One line of the doctor's output.

    Args:
        subject: what it is about, two or three words.
        means: what was found and what follows from it.
        fix: what to do; "" where nothing is to be done.
        devices: indices of the GPUs that it is about; empty for the node.
        stops: with FAIL: the agent cannot run as it is.
    """

    status: FindingLevel
    subject: str
    means: str
    fix: str = ""
    devices: tuple[int, ...] = ()
    stops: bool = False


ok = partial(DoctorFinding, FindingLevel.OK)
warn = partial(DoctorFinding, FindingLevel.WARN)
fail = partial(DoctorFinding, FindingLevel.FAIL)
absent = partial(DoctorFinding, FindingLevel.ABSENT)


Findings = Iterator[DoctorFinding]


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One file of `wattlens/doctor/checks`. `look` is read-only and never calls NVML itself."""

    summary: str
    group: str  # of GROUPS
    look: Callable[[CheckContext], Findings]


def gpus(indices: Iterable[int]) -> str:
    """`GPU 0-3, 7`."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return "GPU " + ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
