"""Progress of a training run: energy, steps and tokens of the same interval and of one run. Pure.

An interval is a time over which one source reported all three without a break: the agent's ledger, or windows over the visible
GPUs. A run is reported from its start, or from the start of the interval if that is later; its three sums always cover the same
time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_agent.core.catalogue.opentelemetry import Attribute, energy_attributes
from energy_agent.core.units import NS_PER_S

NOTHING = "nothing has been read yet"
AGENT, DIRECT = "agent", "nvml"
_SETTLED_COMMITS, _SETTLED_S = 3, 30.0  # of a node where the workload has no GPU there may be none


@dataclass(frozen=True, slots=True)
class Status:
    """What a run used and did so far, on this node.

    Args:
        source: "agent": the whole workload with all its ranks on this node, as its ledger has it; "nvml": the visible GPUs,
            whole, and this process's own counts; "": nothing is known.
        joules: energy up to the last reading; None, with `reason`, where it is not known.
        power_w: now.
        steps: of training, all of the run.
        tokens: trained, all of the run.
        loss: the last reported loss.
        workload: as the agent calls it.
        reason: why there are no joules, or why none were added of late.
        low: least energy that was really drawn, gain errors included; None where it is not known.
        high: most.
        seconds: the time in which `joules` were drawn; None where it is not known.
        measured_steps: those of `steps` that were taken in that time; None for all.
        measured_tokens: those of `tokens` that were trained in that time; None for all.
        gpus: which were measured, in words; "" by the agent.
        world: how many ranks the job has; without an agent the tokens are those of this rank alone.
        simulated: the GPUs are simulated.
    """

    source: str
    joules: float | None
    power_w: float | None
    steps: int
    tokens: int
    loss: float | None
    workload: str
    reason: str
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    measured_steps: int | None = None
    measured_tokens: int | None = None
    gpus: str = ""
    world: int = 1
    simulated: bool = False

    @property
    def joules_per_token(self) -> float | None:
        """Energy by the tokens trained with it; None without either, and where other ranks trained some of them."""
        return self._per(self._tokens, self.joules)

    @property
    def joules_per_step(self) -> float | None:
        """Energy by the steps taken with it; None without either."""
        return self._per(self._steps, self.joules)

    def __str__(self) -> str:
        """Steps, tokens, energy with its interval, energy per step and per token, in one line."""
        done = f"{self.steps:,} steps, {self.tokens:,} tokens"
        if self.joules is None:
            return f"{done}; energy not measured: {self.reason}"
        energy = f"{_digits(self.joules)} J{self._interval(1)}"
        energy += "" if self.seconds is None else f" in {_digits(self.seconds)} s"
        energy += f" on {self.gpus}" if self.gpus else f" by {self.workload or 'the workload'} on this node"
        energy += f" for {self._steps:,} of the steps" if self._steps != self.steps else ""
        per = [
            f"{_digits(value)} J/{what}{self._interval(count)}"
            for what, count in (("step", self._steps), ("token", self._tokens))
            if (value := self._per(count, self.joules)) is not None
        ]
        return f"{done}, {energy}" + (f": {', '.join(per)}" if per else "")

    @property
    def _steps(self) -> int:
        return self.steps if self.measured_steps is None else self.measured_steps

    @property
    def _tokens(self) -> int:
        if self.source == DIRECT and self.world > 1:
            return 0
        return self.tokens if self.measured_tokens is None else self.measured_tokens

    def _per(self, count: int, joules: float | None) -> float | None:
        return joules / count if joules is not None and count else None

    def _interval(self, count: int) -> str:
        return (
            "" if self.low is None or self.high is None else f" ({_digits(self.low / count)} to {_digits(self.high / count)})"
        )


def run_attributes(progress: Status) -> dict[str, Attribute]:
    """Attributes of a run's span, named as those of a measured window; without energy they have the reason."""
    attributes: dict[str, Attribute] = {"wattlens.steps": progress.steps, "wattlens.tokens": progress.tokens}
    attributes |= energy_attributes(progress.joules, progress.low, progress.high, progress.reason)
    if progress.joules is None:
        return attributes
    values: dict[str, Attribute | None] = {
        "wattlens.simulated": progress.simulated,
        "wattlens.energy.source": progress.source,
        "wattlens.energy.steps": progress.measured_steps,
        "wattlens.energy.seconds": progress.seconds,
        "wattlens.gpus": progress.gpus or None,
    }
    return attributes | {name: value for name, value in values.items() if value is not None}


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Energy, J, and what was done with it. `readings`: how many windows they are of, or answers.

    `edge_j`: half-width of the energy's error without `gain_ratio`, the sensors' own. `seconds`: the time in which it was
    drawn, from an origin that all totals of an interval share. Both are None where they are not known.
    """

    joules: float = 0.0
    steps: int = 0
    tokens: int = 0
    readings: int = 0
    edge_j: float | None = 0.0
    gain_ratio: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SourceView:
    """What the source says now. It is replaced whole, so that a reader in another thread sees one of them.

    Args:
        interval: its number; another one after each break.
        source: AGENT or DIRECT; "" before there is one.
        first: totals where the interval began; None until the source reports the first ones.
        last: totals by now; None where there is no energy.
        power_w: now.
        workload: as the agent calls it.
        reason: why there is no energy, or none was added of late.
    """

    interval: int = 0
    source: str = ""
    first: RunTotals | None = None
    last: RunTotals | None = None
    power_w: float | None = None
    workload: str = ""
    reason: str = NOTHING
    gpus: str = ""
    simulated: bool = False


@dataclass(slots=True)
class RunBaseline:
    """Where a run began: the totals of an interval. None until the window is closed in which it began."""

    interval: int
    totals: RunTotals | None


@dataclass(slots=True)
class ReturnedAgent:
    """An agent that was away, and may have yet to record what the GPUs counted meanwhile.

    Args:
        since_s: when it came back.
        commits: times of its commits with the workload on a GPU since then.
    """

    since_s: float
    commits: set[int] = field(default_factory=set)

    def is_settled(self, reply: Mapping[str, Any], now_s: float) -> bool:
        """Whether a total that it states from now on grows by new energy alone: after some commits, or a long time without."""
        if any(device.get("held") for device in reply.get("devices", ())):
            self.commits.add(int(reply.get("t_ns", len(self.commits))))
        return len(self.commits) >= _SETTLED_COMMITS or now_s - self.since_s >= _SETTLED_S


def counts(report: Mapping[str, Any]) -> tuple[int, int]:
    """Steps and tokens of training in a report."""
    return int(report["steps"].get("training", 0)), int(report["tokens"])


def advance_view(view: SourceView, reply: Mapping[str, Any], *, afresh: bool) -> SourceView:
    """The view after an answer of the agent; `afresh`: another source was read since the agent's last answer."""
    workload, at_ns = str(reply.get("workload", "")), reply.get("t_ns")
    at_s = None if at_ns is None else int(at_ns) / NS_PER_S
    if "joules" not in reply:
        reason = str(reply.get("reason", "")) or "the agent reports no energy"
        if view.source == AGENT and not afresh:
            return SourceView(view.interval, AGENT, view.first, None, None, workload, reason)
        # A workload without a GPU so far has used nothing; what one on a silent GPU has used shows with its next reading.
        first = None if reply.get("devices") else RunTotals(seconds=at_s)
        return SourceView(view.interval + 1, AGENT, first, None, None, workload, reason)
    edge_j = reply.get("edge_joules")
    totals = RunTotals(
        float(reply["joules"]),
        *counts(reply),
        edge_j=None if edge_j is None else float(edge_j),
        gain_ratio=float(reply.get("gain_uncertainty_ratio", 0.0)),
        seconds=at_s,
    )
    simulated = bool(reply.get("simulated"))
    powers = [device["power_w"] for device in reply.get("devices", ()) if "power_w" in device]
    power_w = sum(powers) if powers else None
    if view.source != AGENT or afresh or _broken(view, totals, workload):
        return SourceView(view.interval + 1, AGENT, totals, totals, power_w, workload, "", simulated=simulated)
    return SourceView(view.interval, AGENT, view.first or totals, totals, power_w, workload, "", simulated=simulated)


def _broken(view: SourceView, totals: RunTotals, workload: str) -> bool:
    """The ledger is another one: counts that only grow went back, or it means another workload."""
    if view.last is None:
        return False
    before = view.last.joules, view.last.steps, view.last.tokens
    back = any(now < then for now, then in zip((totals.joules, totals.steps, totals.tokens), before, strict=True))
    return back or workload != view.workload


def status(base: RunBaseline, view: SourceView, run: tuple[int, int], loss: float | None, world: int = 1) -> Status:
    """Status of a run. `run`: all its steps and tokens by this process's own count; `world`: how many ranks its job has."""
    start = base.totals if base.interval == view.interval else view.first
    if start is None and view.source == AGENT:  # the run began before the first totals of the interval
        start = view.first
    last, reason = view.last, view.reason
    if last is not None and (start is None or (view.source == DIRECT and last.readings == start.readings)):
        last, reason = None, reason or NOTHING
    if last is None or start is None:
        return Status(view.source, None, None, *run, loss, view.workload, reason or NOTHING, world=world)
    joules, steps, tokens = last.joules - start.joules, last.steps - start.steps, last.tokens - start.tokens
    low = high = seconds = None
    if last.edge_j is not None and start.edge_j is not None:
        # each window has an edge of its own; what the agent states of a total holds for what came since, too
        edge_j = last.edge_j - start.edge_j if view.source == DIRECT else last.edge_j
        low, high = max(0.0, joules - edge_j) / (1 + last.gain_ratio), (joules + edge_j) / (1 - last.gain_ratio)
    if last.seconds is not None and start.seconds is not None:
        seconds = last.seconds - start.seconds
    return Status(
        view.source, joules, view.power_w, max(steps, run[0]), max(tokens, run[1]), loss, view.workload, reason,
        low, high, seconds, steps, tokens, view.gpus, world, view.simulated,
    )  # fmt: skip
