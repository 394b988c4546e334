"""The sweep behind the optimizer: which limit it requests, warms up and measures at which step, and which one it keeps.

Every rank of a job runs the same sweep, step by step. The ranks exchange the values they have to agree on with a collective, at
steps that rank 0's clock chose; each then draws the same conclusion from the same data. Between these steps no rank waits.

The sweep is a generator: each `yield` waits for the next step of the training.
"""

import logging
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from energy_agent.sdk.zeus import profile as _zeus_profile
from energy_agent.sdk.zeus import result
from energy_agent.sdk.zeus.power_limit import PowerLimitClient
from energy_agent.sdk.zeus.ranks import RankConsensus, rank, synchronize
from energy_agent.sdk.zeus.responses import OriginalLimits
from energy_agent.sdk.zeus.result import LimitResult
from energy_agent.sdk.zeus.selection import OptimumSelector, PowerLimitMeasurement

log = logging.getLogger("wattlens.zeus")
MEET_S = 30.0  # for so long the agent may take to see the job on its GPUs
FORCE_S = 7.0  # a limit has to be applied by then: an agent that was refused tries again after 5 s
COLLECT_S = 12.0
_FAILURES = 2  # consecutive limits that were never applied, before the sweep concludes that none will be
_INTERRUPTIONS = 3  # of one limit, before it is reported

T = TypeVar("T")
Course = Generator[None, None, T]
Doing = Literal["Meeting", "Ready", "Asking", "Warmup", "Profiling", "Collecting", "Done"]


class _EpochEndError(Exception):
    """An epoch ended while a limit was measured."""


class _NothingError(Exception):
    """No limit can be set; the text says why."""


@dataclass(frozen=True, slots=True)
class LimitSweepPlan:
    """What to do: `selector` None is the default one, `profile` are measurements of an earlier run, `path` their file."""

    selector: OptimumSelector | None
    wait_steps: int
    warmup_steps: int
    step_w: float
    profile: Sequence[PowerLimitMeasurement] = ()
    path: Path | None = None


@dataclass(slots=True)
class Machine:
    """See the module. `step_begins` is called at the begin of each step, the others when what they are named for happens."""

    plan: LimitSweepPlan
    asker: PowerLimitClient
    ranks: RankConsensus
    measurements: list[PowerLimitMeasurement] = field(default_factory=list)
    doing: Doing = "Meeting"
    limit_w: float = 0.0  # that is requested or measured
    optimal_w: int | None = None  # the limit that is kept; None: the original settings stay
    _course: Course[None] = field(init=False)
    _windows: list[LimitResult] = field(default_factory=list)
    _found: tuple[OriginalLimits, ...] = ()  # of each rank
    _steps: int = 0  # of every window alike, since they are compared; 0 before the first
    _degraded: bool = False  # nothing can be set
    _interruptions: int = 0  # of this limit
    _done_s: float = 0.0
    _looked: bool = False
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._course = self._sweep()

    # Events.

    def step_begins(self) -> None:
        """A step of training begins."""
        if self.doing == "Done":
            self._look_after()
            return
        self.asker.start()
        self.ranks.step_begins()
        next(self._course, None)

    def epoch_ends(self) -> None:
        """What is under way is measured again in the next epoch; until then, everything runs at the highest limit."""
        if self.doing in ("Asking", "Warmup", "Profiling"):
            self._course.throw(_EpochEndError)

    def train_ends(self) -> None:
        """Restore the original settings until the next step begins."""
        self.epoch_ends()
        self.asker.withdraw()

    def give_up(self) -> None:
        """Something went wrong here: ask for nothing any more."""
        self.doing, self.optimal_w = "Done", None
        self.asker.withdraw()

    # The sweep.

    def _sweep(self) -> Course[None]:
        yield from _steps(self.plan.wait_steps)
        profile: list[PowerLimitMeasurement] = []
        try:
            profile = yield from self._meet()
            if not profile:
                yield from self._measure_limits(result.limits_w(self._found, self.plan.step_w))
        except _NothingError as error:  # measure what there is, once
            self._say(f"power limits are not optimized: {error} (docs/zeus.md)")
            self._degraded = True
            self.asker.withdraw()
            if self._found:
                yield from self._measure_as_found()
        if self._windows:
            yield from self._collect()
        else:
            self.measurements = profile
        if not self.measurements or self._degraded:
            self._finish(None)
            return
        self._finish(self.ranks.together(self._choice())[0])
        if not profile:
            self._save()

    def _meet(self) -> Course[list[PowerLimitMeasurement]]:
        """Wait until every rank knows its GPUs; measurements of an earlier run, as rank 0 has them."""
        asker, began_s = self.asker, time.monotonic()
        while True:
            everyone = self.ranks.together({
                "found": asker.original_limits, "never": asker.never, "absent": asker.absent, "reason": asker.reason,
                "waited_s": time.monotonic() - began_s, "profile": list(self.plan.profile),
            })  # fmt: skip
            originals = [each["found"] for each in everyone]
            hopeless = next((each for each in everyone if each["never"]), None)
            if None not in originals:
                self._found = tuple(originals)
                if hopeless is None:
                    return list(everyone[0]["profile"])
            elif everyone[0]["waited_s"] <= MEET_S and not any(each["absent"] for each in everyone):
                yield from _steps(self.ranks.again)
                continue
            unknown = next((each for each in everyone if each["found"] is None), everyone[0])
            raise _NothingError((hopeless or unknown)["reason"])

    def _measure_limits(self, limits: Sequence[float]) -> Course[None]:
        """Measure at each limit, from the highest down, as far as they come into force."""
        failures, is_last = 0, False  # the owner allows no lower limit
        for asked_w in limits:
            spoiled = self._interruptions = 0
            while True:
                try:
                    limit_w, reason, hopeless = yield from self._force(asked_w)
                    if limit_w is not None:
                        failures, is_last = 0, limit_w > asked_w + 0.5
                        if any(window.limit_w == round(limit_w) for window in self._windows):
                            break  # the owner allows no other here
                        reason = yield from self._measure(asked_w, limit_w)
                        if not reason:
                            break
                        spoiled += 1
                        if spoiled == 1:
                            continue
                except _EpochEndError:
                    log.info("%.0f W: interrupted by the end of an epoch", asked_w)
                    self._count_interruption()
                    self._ask_highest()
                    self.doing = "Ready"
                    yield
                    continue
                log.info("%.0f W: skipped: %s", asked_w, reason)
                failures += 1
                if failures < _FAILURES and not hopeless:
                    if self._windows:
                        break
                    continue  # what others are compared with has to be measured
                if not self._windows:
                    raise _NothingError(reason)
                self._say(f"limits below {self._windows[-1].limit_w} W were not measured: {reason} (docs/zeus.md)")
                return
            if is_last:
                return

    def _measure_as_found(self) -> Course[None]:
        while True:
            try:
                yield from self._measure(None, max(one.limit_w for one in self._found))
            except _EpochEndError:
                self._count_interruption()
            else:
                return

    def _count_interruption(self) -> None:
        self._interruptions += 1
        if self._interruptions == _INTERRUPTIONS:
            need = f"{self.plan.warmup_steps} + {self._steps or self.ranks.steps} steps"
            self._say(f"no power limit is measured: epochs end within {need}; lower warmup_steps and profile_steps")

    def _ask_highest(self) -> None:
        """While nothing is measured, nothing is to be slow."""
        if self._windows and not self._degraded:
            self.asker.want(float(self._windows[0].limit_w))

    def _force(self, asked_w: float) -> Course[tuple[float | None, str, bool]]:
        """Ask for a limit; the one that came into force, or None with the reason, and whether no other will either."""
        log.info("%.0f W: requested", asked_w)
        asker, began_s = self.asker, time.monotonic()
        asker.want(asked_w)
        self.doing, self.limit_w = "Asking", asked_w
        while True:
            yield from _steps(self.ranks.again)
            everyone = self.ranks.together({
                "limit_w": asker.in_force(asked_w), "never": asker.never, "reason": asker.reason,
                "waited_s": time.monotonic() - began_s,
            })  # fmt: skip
            missing = next((each for each in everyone if each["limit_w"] is None), None)
            if missing is None:
                return max(each["limit_w"] for each in everyone), "", False
            hopeless = any(each["never"] for each in everyone)
            if hopeless or everyone[0]["waited_s"] > FORCE_S:
                return None, missing["reason"], hopeless

    def _measure(self, asked_w: float | None, limit_w: float) -> Course[str]:
        """Measure a window under an applied limit (`asked_w` None: the original one); return why it did not stay, or ""."""
        self.doing, self.limit_w = "Warmup", limit_w
        yield from _steps(self.plan.warmup_steps)
        if asked_w is not None:
            self.asker.watch(asked_w, limit_w)
        self._synchronize()
        self._steps = self._steps or self.ranks.steps
        self.doing = "Profiling"
        begun_ns, begun_s = time.time_ns(), time.perf_counter()
        yield from _steps(self._steps)
        self._synchronize()
        time_s, ended_ns = time.perf_counter() - begun_s, time.time_ns()
        held = self.asker.has_kept_limit() or asked_w is None
        everyone = self.ranks.together({"time_s": time_s, "held": held, "reason": self.asker.reason})
        lost = next((each for each in everyone if not each["held"]), None)
        if lost is not None and asked_w is not None:
            log.info("%.0f W: did not stay applied", limit_w)
            return str(lost["reason"])
        spent = self.asker.request_energy(begun_ns, ended_ns)
        self._windows.append(LimitResult(round(limit_w), max(each["time_s"] for each in everyone), spent))
        return ""

    def _collect(self) -> Course[None]:
        """Collect the energy of the windows as soon as the agent has reported it."""
        self._ask_highest()
        self.doing, began_s = "Collecting", time.monotonic()
        while True:
            yield from _steps(self.ranks.again)
            mine = [window.spent.joules for window in self._windows]
            everyone = self.ranks.together({"joules": mine, "waited_s": time.monotonic() - began_s})
            by_rank = [each["joules"] for each in everyone]
            if not any(None in joules for joules in by_rank) or everyone[0]["waited_s"] > COLLECT_S:
                break
        for window, parts in zip(self._windows, zip(*by_rank, strict=True), strict=True):
            made = result.measured(window, parts)
            if isinstance(made, str):
                self._say(f"the energy of a window is unknown: at {window.limit_w} W: {made}")
            else:
                self.measurements.append(made)

    def _choice(self) -> int | None:
        if rank() != 0:
            return None
        try:
            return result.selected(self.plan.selector, self.measurements, self._found)
        except Exception as error:  # noqa: BLE001 - the user's own code
            self._say(f"no power limit was selected: {type(error).__name__}: {error}")
            return None

    def _finish(self, choice: int | None) -> None:
        self.doing, self.optimal_w, self._done_s = "Done", choice, time.monotonic()
        if choice is None:
            self.asker.withdraw()
        else:
            log.info("%d W: kept", choice)
            self.asker.want(float(choice))

    def _save(self) -> None:
        if self.plan.path is None or rank() != 0 or len(self.measurements) < 2:
            return
        try:
            _zeus_profile.write(self.plan.path, self.measurements)
        except OSError as error:
            self._say(f"the profile is not saved: {self.plan.path}: {error.strerror}")

    def _look_after(self) -> None:
        if self.optimal_w is None:
            return
        self.asker.want(float(self.optimal_w))
        if not self._looked and time.monotonic() - self._done_s > FORCE_S:
            self._looked = True
            if self.asker.in_force(float(self.optimal_w)) is None:
                self._say(f"the power limit is not applied: {self.optimal_w} W: {self.asker.reason} (docs/zeus.md)")

    # Parts.

    def _synchronize(self) -> None:
        try:
            synchronize()
        except Exception as error:  # noqa: BLE001 - the training meets it at its own next call
            self._say(f"torch.cuda.synchronize: {error}")

    def _say(self, text: str) -> None:
        """A line on stderr, once for each kind of trouble, which is what stands before the colon."""
        kind = text.partition(":")[0]
        if rank() == 0 and kind not in self._said:
            self._said.add(kind)
            sys.stderr.write(f"wattlens: {text}\n")


def _steps(number: int) -> Course[None]:
    for _ in range(number):
        yield
