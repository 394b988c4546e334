"""The profile that a sweep begins with: a new one, or a saved one of the same workload on the same kind of GPUs."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dvfs.sweep.profile import Key, SweepPlan, SweepProfile, load
from energy_agent.core.errors import UsageError
from wattlens.sweep.target import SweepTarget

_PROCESS = re.compile(r"process-(.*)-\d+-\d+")
REPEATS, PRECISION_RATIO, SECONDS, SETTLE_S = 5, 0.01, 20.0, 5.0


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Plan options from the command line. None or empty: not given."""

    knob: str = "clock"
    clocks: tuple[int, ...] = ()
    caps: tuple[float, ...] = ()
    points: int | None = None
    seconds: float | None = None
    settle_s: float | None = None
    repeats: int | None = None
    precision_ratio: float | None = None


def earlier(out: Path, resume: bool) -> SweepProfile | None:
    """Return the profile to resume; None if the sweep creates a new one.

    Raises:
        UsageError: the profile to resume does not exist or is not valid, or an existing one must not be overwritten.
    """
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: no such folder")
    if not out.exists():
        if resume:
            raise UsageError(f"--resume: {out}: no such file")
        return None
    if not resume:
        raise UsageError(f"{out} already exists: continue it with --resume, or choose another --out")
    profile = load(out)
    if profile.plan is None:
        raise UsageError(f"--resume: {out} has no plan, so it cannot be continued")
    return profile


def named(target: SweepTarget, name: str, command: Sequence[str]) -> str:
    """What the profile calls the workload: the same for another run of the same, so without the number of a process."""
    if name or command:
        return (name or shlex.join(command))[:200]
    whole = ", ".join(target.workloads) or "GPU " + ",".join(str(gpu.index) for gpu in target.gpus)
    return _PROCESS.sub(r"process-\1", whole)[:200]


def start_profile(
    target: SweepTarget, name: str, work: str, keys: Sequence[Key], options: PlanOptions, seed: int, gain: float | None
) -> SweepProfile:
    """Create a profile without intervals. `keys` are the settings as the actuator applies them."""
    gpu = target.gpus[0]
    plan = SweepPlan(
        tuple(keys),
        options.repeats or REPEATS,
        options.seconds or SECONDS,
        SETTLE_S if options.settle_s is None else options.settle_s,
        options.precision_ratio or PRECISION_RATIO,
        seed,
    )
    highest = gpu.clock_max_mhz or max((clock for clock, _ in keys if clock), default=1)
    profile = SweepProfile(
        name, gpu.sku, gpu.driver, gpu.simulated, work, highest, _limit_w(target), len(target.gpus), plan=plan
    )
    return replace(profile, gain_uncertainty_ratio=gain)


def resume_profile(
    profile: SweepProfile, target: SweepTarget, name: str, work: str, options: PlanOptions, out: Path
) -> SweepProfile:
    """The profile to continue, with more repeats or another precision if requested.

    Raises:
        UsageError: it is of something else; names what.
    """
    gpu = target.gpus[0]
    for what, then, now in (
        ("workload", profile.workload, name),
        ("GPU", profile.sku, gpu.sku),
        ("driver", profile.driver, gpu.driver),
        ("number of GPUs", profile.devices, len(target.gpus)),
        ("original power limit", profile.power_limit_found_w, _limit_w(target)),
        ("work", profile.work, work),
        ("simulated", profile.simulated, gpu.simulated),
    ):
        if then != now:
            raise UsageError(f"--resume: {out}: expected {what} {now!r}, got {then!r}")
    return replace(profile, plan=renewed(profile, options))


def renewed(profile: SweepProfile, options: PlanOptions) -> SweepPlan:
    """The plan of a profile, with the repeats and the precision that the command line says."""
    assert profile.plan is not None
    return replace(
        profile.plan,
        repeats=options.repeats or profile.plan.repeats,
        precision_ratio=options.precision_ratio or profile.plan.precision_ratio,
    )


def next_session(profile: SweepProfile) -> int:
    """The number of the run of the sweep that goes on with a profile."""
    return 1 + max((interval.session for interval in profile.stretches), default=0)


def _limit_w(target: SweepTarget) -> float:
    return target.gpus[0].limit_w or 1.0
