"""What is known of a training run: joules, steps and tokens that belong together, of one stretch and of one run. Pure.

A stretch is a time over which one source told all three without a break: the agent's ledger, or windows over the visible GPUs.
A run is told from its begin on, or from that of the stretch where it is later; its three sums are always of the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from energy_agent.core.record import record

NOTHING = "nothing has been read yet"
AGENT, DIRECT = "agent", "nvml"


@record(frozen=True, slots=True)
class Status:
    """What a run used and did so far, on this node.

    Args:
        source: "agent": the whole workload with all its ranks on this node, as its ledger has it; "nvml": the visible GPUs,
            whole, and this process's own counts; "": nothing is known.
        joules: energy; None, with `reason`, where it is not known.
        power_w: now.
        steps: of training: those that `joules` were used for; all of the run where there are no joules.
        tokens: trained, likewise.
        loss: the last one that was told.
        workload: as the agent calls it.
        reason: why there are no joules, or why none were added of late.
    """

    source: str
    joules: float | None
    power_w: float | None
    steps: int
    tokens: int
    loss: float | None
    workload: str
    reason: str

    @property
    def joules_per_token(self) -> float | None:
        """Energy by tokens; None without either."""
        return self.joules / self.tokens if self.joules is not None and self.tokens else None

    @property
    def joules_per_step(self) -> float | None:
        """Energy by steps; None without either."""
        return self.joules / self.steps if self.joules is not None and self.steps else None


@record(frozen=True, slots=True)
class Totals:
    """Energy, J, and what was done with it. `readings`: how many windows they are of, or answers."""

    joules: float = 0.0
    steps: int = 0
    tokens: int = 0
    readings: int = 0


@record(frozen=True, slots=True)
class View:
    """What the source says now. It is replaced whole, so that a reader in another thread sees one of them.

    Args:
        stretch: its number; another one after each break.
        source: AGENT or DIRECT; "" before there is one.
        first: totals where the stretch began.
        last: totals by now; None where there is no energy.
        power_w: now.
        workload: as the agent calls it.
        reason: why there is no energy, or none was added of late.
    """

    stretch: int = 0
    source: str = ""
    first: Totals = Totals()
    last: Totals | None = None
    power_w: float | None = None
    workload: str = ""
    reason: str = NOTHING


@dataclass(slots=True)
class Base:
    """Where a run began: the totals of a stretch. None until the window is closed in which it began."""

    stretch: int
    totals: Totals | None


def counts(told: Mapping[str, Any]) -> tuple[int, int]:
    """Steps and tokens of training in a report."""
    return int(told["steps"].get("training", 0)), int(told["tokens"])


def answered(view: View, found: Mapping[str, Any], *, afresh: bool) -> View:
    """The view after an answer of the agent; `afresh`: another source had been asked since the last one."""
    workload = str(found.get("workload", ""))
    if "joules" not in found:
        reason = str(found.get("reason", "")) or "the agent tells no energy"
        if view.source == AGENT and not afresh:
            return View(view.stretch, AGENT, view.first, None, None, workload, reason)
        return View(view.stretch + 1, AGENT, Totals(), None, None, workload, reason)
    totals = Totals(float(found["joules"]), *counts(found))
    powers = [device["power_w"] for device in found.get("devices", ()) if "power_w" in device]
    power_w = sum(powers) if powers else None
    if view.source != AGENT or afresh or _broken(view, totals, workload):
        return View(view.stretch + 1, AGENT, totals, totals, power_w, workload, "")
    return View(view.stretch, AGENT, view.first, totals, power_w, workload, "")


def _broken(view: View, totals: Totals, workload: str) -> bool:
    """The ledger is another one: counts that only grow went back, or it means another workload."""
    if view.last is None:
        return False
    before = view.last.joules, view.last.steps, view.last.tokens
    back = any(now < then for now, then in zip((totals.joules, totals.steps, totals.tokens), before, strict=True))
    return back or workload != view.workload


def status(base: Base, view: View, run: tuple[int, int], loss: float | None) -> Status:
    """Status of a run. `run`: all its steps and tokens, for where there is no energy."""
    start = base.totals if base.stretch == view.stretch else view.first
    last, reason = view.last, view.reason
    if last is not None and (start is None or (view.source == DIRECT and last.readings == start.readings)):
        last, reason = None, reason or NOTHING
    if last is None or start is None:
        return Status(view.source, None, None, *run, loss, view.workload, reason or NOTHING)
    joules, steps, tokens = last.joules - start.joules, last.steps - start.steps, last.tokens - start.tokens
    return Status(view.source, joules, view.power_w, steps, tokens, loss, view.workload, reason)
