"""Findings of the doctor, each with a level, its meaning and a fix. Plain data; no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from wattlens.doctor.facts import CheckContext


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


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One file of `wattlens/doctor/checks`. `look` is read-only and never calls NVML itself."""

    summary: str
    group: str  # of GROUPS
    look: Callable[[CheckContext], Iterable[DoctorFinding]]


def gpus(indices: Iterable[int]) -> str:
    """`GPU 0-3, 7`."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return "GPU " + ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
