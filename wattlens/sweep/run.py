"""A sweep from start to end: find the workload, hold the lease, measure each setting, store the profile."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvfs.actuator.client import ActuatorClient
from dvfs.knees import load as load_knees
from dvfs.sweep.estimate import points
from dvfs.sweep.next_setting import following, stretches_left
from dvfs.sweep.profile import REFERENCE, Key, SettingInterval, SweepProfile, dump
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from wattlens.scrape.access import AgentAccess
from wattlens.sweep.finding import TargetFinder
from wattlens.sweep.hold import NAME, Hold
from wattlens.sweep.measuring import Measuring, SpoiledError
from wattlens.sweep.planning import PlanOptions, earlier, named, next_session, renewed, resume_profile, start_profile
from wattlens.sweep.shown import SweepProgress, duration, name_of
from wattlens.sweep.target import SweepTarget, TargetRequest, settings
from wattlens.sweep.work import Work

TRIES = 3
"""Maximum attempts to measure a disturbed interval, before the sweep gives up or accepts it."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """The command line. `wait_s` is of real time, `warm_up_s` of the node's."""

    out: Path
    access: AgentAccess
    actuator: Path
    clock: Clock
    plan: PlanOptions
    wanted: TargetRequest
    name: str = ""
    named_work: Work | None = None
    work: str | None = None
    wait_s: float = 15.0
    warm_up_s: float = 0.0
    resume: bool = False
    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


class SweepRun:
    """One run of a sweep. `profile` is the stored profile, None before the first interval."""

    def __init__(self, options: SweepOptions, progress: SweepProgress) -> None:
        """Read the profile to go on with; raises UsageError as `planning.earlier`."""
        self._options, self._progress = options, progress
        self._earlier = earlier(options.out, options.resume)
        self.profile: SweepProfile | None = None

    def run(self) -> SweepProfile:
        """Measure until the plan is done.

        Raises:
            EndedError: a signal asked to end; the original settings are restored, and the measurements are on disk.
            WattlensError: a failure, with its reason; settings and measurements as above.
        """
        options = self._options
        profile = self._earlier
        if profile and not stretches_left(renewed(profile, options.plan), profile.stretches, next_session(profile)):
            self.profile = profile
            self._progress.say(f"{options.out}: nothing is left to measure")
            return profile
        with ActuatorClient(options.actuator, name=NAME) as client, Hold(client, self._progress.say) as hold:
            hold.require_actuator()
            finding = TargetFinder(options.access, options.clock, hold)
            finding.reachable()
            if options.command:
                hold.start(options.command, options.environ)
            target, work = finding.find(options.wanted, options.named_work, options.work, options.wait_s)
            profile = self._keep(self._planned(target, work, finding, hold))
            assert profile.plan is not None
            measuring = Measuring(target.uuids, work, finding.read, hold, options.clock, profile.plan, finding.period_s)
            gpus = ", ".join(str(gpu.index) for gpu in target.gpus)
            return self._measured(profile, measuring, hold, f"{profile.workload} on GPU {gpus}, by {work.what}")

    def _planned(self, target: SweepTarget, work: Work, finding: TargetFinder, hold: Hold) -> SweepProfile:
        """The profile to begin or to go on with, under the lease."""
        options = self._options
        name = named(target, options.name, options.command)
        if self._earlier is not None:
            profile = resume_profile(self._earlier, target, name, work.what, options.plan, options.out)
            hold.lease(target.uuids)
            return profile
        plan = options.plan
        wanted = settings(target.gpus[0], load_knees(), plan.knob, plan.points, plan.clocks, plan.caps)
        hold.lease(target.uuids)
        # Each is set for an instant, so that a refusal comes now and not in an hour, and one that comes to another is known.
        keys = tuple(dict.fromkeys(hold.set(key) for key in wanted))
        hold.set(REFERENCE)
        page = finding.read()
        gains = (
            [page.total("gpu_energy_gain_uncertainty_ratio", uuid=uuid) for uuid in target.uuids] if page is not None else []
        )
        gain = max((g for g in gains if g is not None), default=None)
        return start_profile(target, name, work.what, keys, plan, 1 + secrets.randbelow(2**31), gain or None)

    def _measured(self, profile: SweepProfile, measuring: Measuring, hold: Hold, about: str) -> SweepProfile:
        assert profile.plan is not None
        plan, session = profile.plan, next_session(profile)
        each_s, settings = plan.seconds + plan.settle_s, len(plan.settings)
        left = stretches_left(plan, profile.stretches, session)
        most = f"at most {left} measurements, {duration(self._real(left * each_s))}"
        self._progress.say(f"{about}: {settings} setting{'s' * (settings > 1)}, {most}")
        if self._options.warm_up_s:
            hold.pause(self._real(self._options.warm_up_s))
        while (key := following(plan, profile.stretches, session)) is not None:
            left = stretches_left(plan, profile.stretches, session)
            number, of = len(profile.stretches) + 1, len(profile.stretches) + left

            def tick(elapsed_s: float, at: tuple[int, int, Key, float] = (number, of, key, left * each_s)) -> None:
                self._progress.at(*at[:3], self._real(max(0.0, at[3] - elapsed_s)))

            interval, spoiled = self._one(measuring, hold, key, session, tick)
            intervals = (*profile.stretches, interval)
            profile = self._keep(
                replace(profile, stretches=intervals, points=points(intervals), spoiled=profile.spoiled + spoiled)
            )
            text = f"{interval.time_s:.5g} s, {interval.power_w:.1f} W"
            self._progress.finish(number, of, key, self._real((left - 1) * each_s), text)
        self._progress.clear()
        return profile

    def _one(
        self, measuring: Measuring, hold: Hold, key: Key, session: int, tick: Callable[[float], None]
    ) -> tuple[SettingInterval, int]:
        """Return an interval, and the number of spoiled ones before it."""
        for spoiled in range(TRIES):
            came = hold.set(key)
            if came != key:
                raise WattlensError(
                    f"the actuator now applies {name_of(came)} instead of {name_of(key)}: its limits have changed"
                )
            try:
                return measuring.stretch(key, session, tick, strict=spoiled < TRIES - 1), spoiled
            except SpoiledError as error:
                self._progress.say(f"{name_of(key)}: {error}")
        raise WattlensError(f"{name_of(key)} could not be measured in {TRIES} tries")

    def _keep(self, profile: SweepProfile) -> SweepProfile:
        """Write it, whole or not at all."""
        out = self._options.out
        draft = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            draft.write_text(dump(profile))
            draft.replace(out)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise WattlensError(f"{out}: cannot write the profile: {error.strerror}") from None
        self.profile = profile
        return profile

    def _real(self, seconds: float) -> float:
        return self._options.clock.real_seconds(seconds)
