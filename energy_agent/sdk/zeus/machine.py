"""The sweep behind the optimizer: which limit is asked for, warmed up and measured at which step, and which one is kept.

Every rank of a job runs it, step by step alike. What they have to agree on they put together with a collective, at steps that
rank 0's clock chose; each then draws the same conclusion from the same words. Nothing in between waits for anybody.
"""

import logging
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from energy_agent.sdk.zeus import profile as _zeus_profile
from energy_agent.sdk.zeus import result
from energy_agent.sdk.zeus.power_limit import Asker
from energy_agent.sdk.zeus.ranks import Ranks, rank, synchronize
from energy_agent.sdk.zeus.responses import Found
from energy_agent.sdk.zeus.selection import PowerLimitMeasurement
from energy_agent.sdk.zeus.states import Asking, Collecting, Done, Meeting, Plan, Profiling, Ready, State, Warmup, Window

log = logging.getLogger("wattlens.zeus")
MEET_S = 30.0  # for so long the agent may take to see the job on its GPUs
FORCE_S = 7.0  # a limit has to be in force by then: an agent that was refused tries again after 5 s
COLLECT_S = 12.0
_FAILURES = 2  # limits in a row that never came into force, before it is clear that none will
_INTERRUPTIONS = 3  # of one limit, before it is told


@dataclass(slots=True)
class Machine:
    """See the module. `step_begins` is called at the begin of each step, the others when what they are named for happens."""

    plan: Plan
    asker: Asker
    ranks: Ranks
    measurements: list[PowerLimitMeasurement] = field(default_factory=list)
    state: State = field(init=False)
    _limits: deque[float] = field(default_factory=deque)  # still to be asked for, the highest first
    _windows: list[Window] = field(default_factory=list)
    _found: tuple[Found, ...] = ()  # of each rank
    _steps: int = 0  # of every window alike, since they are compared; 0 before the first
    _degraded: bool = False  # nothing can be set
    _last: bool = False  # the owner allows no lower limit
    _failures: int = 0
    _spoiled: int = 0  # windows at this limit
    _interruptions: int = 0
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Begin at the begin."""
        self.state = Meeting(self.plan.wait_steps + 1)

    # Events.

    def step_begins(self) -> None:
        """A step of training begins."""
        state = self.state
        if isinstance(state, Done):
            self._look_after(state)
            return
        self.asker.start()
        self.ranks.step_begins()
        state.steps -= 1
        if state.steps > 0:
            return
        match state:
            case Meeting():
                self._meet(state)
            case Ready():
                self._ask(state.asked_w)
            case Asking():
                self._check(state)
            case Warmup():
                self._open(state)
            case Profiling():
                self._close(state)
            case Collecting():
                self._collect(state)

    def epoch_ends(self) -> None:
        """What is under way is measured anew in the next epoch; until then, everything runs at the highest limit."""
        state = self.state
        if not isinstance(state, Asking | Warmup | Profiling):
            return
        self._interruptions += 1
        if self._interruptions == _INTERRUPTIONS:
            need = f"{self.plan.warmup_steps} + {self._steps or self.ranks.steps} steps"
            self._say(f"no power limit is measured: epochs end before {need}; lower warmup_steps and profile_steps")
        if state.asked_w is None:
            self._as_found()
            return
        log.info("%.0f W: interrupted by the end of an epoch", state.asked_w)
        self._ask_highest()
        self.state = Ready(state.asked_w)

    def train_ends(self) -> None:
        """Everything as found, until a step begins again."""
        self.epoch_ends()
        self.asker.withdraw()

    def give_up(self) -> None:
        """Something went wrong here: ask for nothing any more."""
        self.state = Done(None, time.monotonic())
        self.asker.withdraw()

    # The begin.

    def _meet(self, state: Meeting) -> None:
        asker, now_s = self.asker, time.monotonic()
        state.since_s = now_s if state.since_s is None else state.since_s
        everyone = self.ranks.together({
            "found": asker.found, "never": asker.never, "absent": asker.absent, "reason": asker.reason,
            "waited_s": now_s - state.since_s, "profile": list(self.plan.profile),
        })  # fmt: skip
        found = [each["found"] for each in everyone]
        hopeless = next((each for each in everyone if each["never"]), None)
        if None not in found:
            self._found = tuple(found)
            if hopeless is None:
                self._begin(everyone[0]["profile"])
                return
        elif everyone[0]["waited_s"] <= MEET_S and not any(each["absent"] for each in everyone):
            state.steps = self.ranks.again
            return
        unknown = next((each for each in everyone if each["found"] is None), everyone[0])
        self._degrade((hopeless or unknown)["reason"])

    def _begin(self, profile: list[PowerLimitMeasurement]) -> None:
        if profile:
            self.measurements = profile
            self._choose()
            return
        self._limits = deque(result.limits_w(self._found, self.plan.step_w))
        self._ask(self._limits.popleft())

    def _degrade(self, reason: str) -> None:
        """Nothing can be set: measure what there is, once."""
        self._say(f"power limits are not optimized: {reason} (docs/zeus.md)")
        self._degraded = True
        self.asker.withdraw()
        self._limits.clear()
        if self._found:
            self._as_found()
        else:
            self._finish(None)

    def _as_found(self) -> None:
        self._warm_up(None, max(one.limit_w for one in self._found))

    # A limit.

    def _ask(self, asked_w: float) -> None:
        log.info("%.0f W: asked for", asked_w)
        self.asker.want(asked_w)
        self.state = Asking(asked_w, self.ranks.again, time.monotonic())

    def _ask_highest(self) -> None:
        """While nothing is measured, nothing is to be slow."""
        if self._windows and not self._degraded:
            self.asker.want(float(self._windows[0].limit_w))

    def _check(self, state: Asking) -> None:
        asker = self.asker
        everyone = self.ranks.together({
            "limit_w": asker.in_force(state.asked_w), "never": asker.never, "reason": asker.reason,
            "waited_s": time.monotonic() - state.since_s,
        })  # fmt: skip
        missing = next((each for each in everyone if each["limit_w"] is None), None)
        hopeless = any(each["never"] for each in everyone)
        if missing is None:
            self._granted(state.asked_w, max(each["limit_w"] for each in everyone))
        elif hopeless or everyone[0]["waited_s"] > FORCE_S:
            self._left_out(state.asked_w, missing["reason"], hopeless=hopeless)
        else:
            state.steps = self.ranks.again

    def _granted(self, asked_w: float, limit_w: float) -> None:
        self._failures = 0
        self._last = limit_w > asked_w + 0.5
        if any(window.limit_w == round(limit_w) for window in self._windows):
            self._next()  # the owner allows no other here
        else:
            self._warm_up(asked_w, limit_w)

    def _left_out(self, asked_w: float, reason: str, *, hopeless: bool = False) -> None:
        log.info("%.0f W: left out: %s", asked_w, reason)
        self._failures += 1
        if self._failures < _FAILURES and not hopeless:
            if self._windows:
                self._next()
            else:
                self._ask(asked_w)  # what others are compared with has to be measured
        elif self._windows:
            self._say(f"limits below {self._windows[-1].limit_w} W were not measured: {reason} (docs/zeus.md)")
            self._limits.clear()
            self._next()
        else:
            self._degrade(reason)

    def _next(self) -> None:
        self._interruptions = self._spoiled = 0
        if self._limits and not self._last:
            self._ask(self._limits.popleft())
            return
        self._ask_highest()
        self.state = Collecting(self.ranks.again, time.monotonic())

    # A window.

    def _warm_up(self, asked_w: float | None, limit_w: float) -> None:
        self.state = state = Warmup(asked_w, limit_w, self.plan.warmup_steps)
        if not state.steps:
            self._open(state)

    def _open(self, state: Warmup) -> None:
        if state.asked_w is not None:
            self.asker.watch(state.asked_w, state.limit_w)
        self._synchronize()
        self._steps = self._steps or self.ranks.steps
        self.state = Profiling(state.asked_w, state.limit_w, self._steps, time.time_ns(), time.perf_counter())

    def _close(self, state: Profiling) -> None:
        self._synchronize()
        time_s, ended_ns = time.perf_counter() - state.begun_s, time.time_ns()
        held = self.asker.held() or state.asked_w is None
        everyone = self.ranks.together({"time_s": time_s, "held": held, "reason": self.asker.reason})
        lost = next((each for each in everyone if not each["held"]), None)
        if lost is None or state.asked_w is None:
            spent = self.asker.spent(state.begun_ns, ended_ns)
            self._windows.append(Window(round(state.limit_w), max(each["time_s"] for each in everyone), spent))
            self._next()
            return
        log.info("%.0f W: did not stay in force", state.limit_w)
        self._spoiled += 1
        if self._spoiled > 1:
            self._left_out(state.asked_w, lost["reason"])
        else:
            self._ask(state.asked_w)

    # The end.

    def _collect(self, state: Collecting) -> None:
        mine = [window.spent.joules for window in self._windows]
        everyone = self.ranks.together({"joules": mine, "waited_s": time.monotonic() - state.since_s})
        by_rank = [each["joules"] for each in everyone]
        if any(None in joules for joules in by_rank) and everyone[0]["waited_s"] <= COLLECT_S:
            state.steps = self.ranks.again
            return
        found = [result.measured(w, parts) for w, parts in zip(self._windows, zip(*by_rank, strict=True), strict=True)]
        for window, made in zip(self._windows, found, strict=True):
            if isinstance(made, str):
                self._say(f"the energy of a window is not known: at {window.limit_w} W: {made}")
        self.measurements = [made for made in found if isinstance(made, PowerLimitMeasurement)]
        if self.measurements and not self._degraded:
            self._choose()
            self._save()
        else:
            self._finish(None)

    def _choose(self) -> None:
        choice = None
        if rank() == 0:
            try:
                choice = result.selected(self.plan.selector, self.measurements, self._found)
            except Exception as error:  # noqa: BLE001 - the user's own code
                self._say(f"no power limit was selected: {type(error).__name__}: {error}")
        self._finish(self.ranks.together(choice)[0])

    def _finish(self, choice: int | None) -> None:
        self.state = Done(choice, time.monotonic())
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

    def _look_after(self, state: Done) -> None:
        if state.optimal_w is None:
            return
        self.asker.want(float(state.optimal_w))
        if not state.looked and time.monotonic() - state.since_s > FORCE_S:
            state.looked = True
            if self.asker.in_force(float(state.optimal_w)) is None:
                self._say(f"the power limit is not in force: {state.optimal_w} W: {self.asker.reason} (docs/zeus.md)")

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
