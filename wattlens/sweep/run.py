"""A sweep from start to end: find the workload, hold the lease, measure each setting, store the profile."""

import math
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvfs.actuator.client import ActuatorClient
from dvfs.knees import load as load_knees
from dvfs.sweep.estimate import points
from dvfs.sweep.next_setting import following, stretches_left
from dvfs.sweep.profile import REFERENCE, Key, SettingInterval, SweepProfile, dump
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.runtime.network.http import HttpError
from wattlens.agent_access import AgentAccess
from wattlens.sweep.gpu import committed_ns
from wattlens.sweep.hold import NAME, Hold
from wattlens.sweep.measuring import Measuring, SpoiledError
from wattlens.sweep.planning import PlanOptions, earlier, named, next_session, renewed, resume_profile, start_profile
from wattlens.sweep.shown import SweepProgress, duration, name_of
from wattlens.sweep.target import SweepTarget, TargetRequest, settings, target
from wattlens.sweep.work import Work, of_agent, spread_over_nodes
from wattlens.top.metrics import MetricsResponse, parse

TIMEOUT_S = 2.0
"""Of a read: well below the time after which a lease ends that nobody renews."""
PATIENCE_S = 15.0  # of the first one, before there is a lease
GONE_S = 30.0  # real time without any page, once there was one
_APART = 3  # pages between which a workload must be seen to use energy
TRIES = 3
"""Maximum attempts to measure a disturbed interval, before the sweep gives up or accepts it."""


class TargetFinder:
    """Finds the GPUs and workloads of a sweep on one agent's metrics endpoint."""

    def __init__(self, access: AgentAccess, clock: Clock, hold: Hold) -> None:
        """Raises UsageError if the address or a file of credentials is not valid."""
        self._access, self._hold = access, hold
        self._fetch = access.opener()
        self._read_s = -math.inf  # when a page was read last
        self.period_s = max(0.1, clock.real_seconds(0.5))
        """Real time between two reads: the agent has news once a second of the node's time."""

    def reachable(self) -> None:
        """Raise WattlensError where no agent answers at the address."""
        self.read(PATIENCE_S)

    def read(self, timeout_s: float = TIMEOUT_S) -> MetricsResponse | None:
        """The page; None where none comes now. Raises WattlensError where none has come for long."""
        try:
            page = parse(self._fetch(timeout_s).decode(), 0.0)
        except (HttpError, ValueError) as error:
            if time.monotonic() - self._read_s > GONE_S:
                at = f"{self._access.url}: {self._access.why_not(error)}"
                raise WattlensError(f"no response from the agent at {at}; is `wattlens agent` running?") from None
            return None
        self._read_s = time.monotonic()
        return page

    def find(
        self, request: TargetRequest, named_work: Work | None, what: str | None, wait_s: float
    ) -> tuple[SweepTarget, Work]:
        """The workload with its GPUs and the counter of its work; waits until both are there, `wait_s` of real time at most.

        Raises:
            EndedError: a signal asked to end.
            WattlensError: they are not there; says what is missing.
            UsageError: no time will help.
        """
        end_s, reason = time.monotonic() + wait_s, "the agent has not read its GPUs yet"
        pages: deque[MetricsResponse] = deque(maxlen=_APART)
        while True:
            page = self.read()
            if page is not None and (not pages or committed_ns(page) != committed_ns(pages[-1])):
                pages.append(page)
            if page is not None and len(pages) == _APART:
                match = target(pages[0], page, request, named_work=named_work is not None)
                if isinstance(match, SweepTarget):
                    if why_not := spread_over_nodes(match.workloads):
                        raise UsageError(why_not)
                    work = named_work or of_agent(match.workloads, what, page)
                    if work is not None and work.sample(page) is not None:
                        return match, work
                    match = _no_work(match, work, what)
                reason = match
            if time.monotonic() > end_s:
                raise WattlensError(reason)
            self._hold.pause(self.period_s)


def _no_work(swept: SweepTarget, work: Work | None, what: str | None) -> str:
    if work is not None:
        return f"no {work.what} at the given address"
    return (
        f"the agent counts no {what or 'steps or tokens'} of {', '.join(swept.workloads)}: call wattlens.step in its code "
        "(docs/training.md), add its inference server to the agent's configuration (docs/tokens.md), or give --work-from "
        "and --work-metric"
    )


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
        remaining = stretches_left(plan, profile.stretches, session)
        most = f"at most {remaining} measurements, {duration(self._real(remaining * each_s))}"
        self._progress.say(f"{about}: {settings} setting{'s' * (settings > 1)}, {most}")
        if self._options.warm_up_s:
            hold.pause(self._real(self._options.warm_up_s))
        while (key := following(plan, profile.stretches, session)) is not None:
            remaining = stretches_left(plan, profile.stretches, session)
            number, of = len(profile.stretches) + 1, len(profile.stretches) + remaining

            def tick(elapsed_s: float, at: tuple[int, int, Key, float] = (number, of, key, remaining * each_s)) -> None:
                self._progress.at(*at[:3], self._real(max(0.0, at[3] - elapsed_s)))

            interval, spoiled = self._one(measuring, hold, key, session, tick)
            intervals = (*profile.stretches, interval)
            profile = self._keep(
                replace(profile, stretches=intervals, points=points(intervals), spoiled=profile.spoiled + spoiled)
            )
            text = f"{interval.time_s:.5g} s, {interval.power_w:.1f} W"
            self._progress.finish(number, of, key, self._real((remaining - 1) * each_s), text)
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
