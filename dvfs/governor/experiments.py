"""Experiments of all groups of a node. Their states survive restarts of the agent."""

import json
import logging
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dvfs.proof.estimate import Verdict
from dvfs.proof.experiment import Experiment, ExperimentState, Round, Subject
from dvfs.proof.plan import ExperimentPlan
from energy_agent.core.proof import ProofRow
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.fair_shares import first_of_largest

log = logging.getLogger(__name__)
_STORE_NS: Final = 60 * NS_PER_S
"""Interval between two stores of an unchanged experiment. Energy since the last store is not claimed after a kill."""
_MAX_ABSENCE_NS: Final = 3600 * NS_PER_S  # of a group, before its experiment ends
_MAX_ABSENT: Final = 128
"""Maximum number of experiments of absent groups. Of more, those of the owner with the most end first."""
_OF_GROUP: Final = "group "
_ENDED: Final = "ended"
_DEFAULT: Final = ExperimentPlan(0, None, 30.0, 4.0, 270.0)  # for experiments that end because paired blocks were disabled


@dataclass(slots=True)
class _Running:
    experiment: Experiment
    subject: Subject
    seen_ns: int
    stored: str = ""
    stored_ns: int = 0
    is_changed: bool = True  # since the last store


class Experiments:
    """The experiments of a node, one per group. Not thread-safe."""

    def __init__(self, plan: ExperimentPlan | None, states: Mapping[str, str], boot_ns: int) -> None:
        """Restore experiments from `states`. An unreadable state is logged and removed."""
        self._plan = plan
        self._running: dict[str, _Running] = {}
        self._rows: list[ProofRow] = []
        self._changed: dict[str, str] = {}  # states of experiments that ended, since the last `take`
        self._past = {"claimed_uj": Counter[str](), "lost_uj": Counter[str]()}  # of experiments that ended, by device
        for key, text in states.items():
            try:
                body = json.loads(text)
                if key == _ENDED:
                    for what, past in self._past.items():
                        past.update({str(uuid): int(uj) for uuid, uj in body[what].items()})
                else:
                    subject = Subject(*(str(part) for part in body["subject"]))
                    experiment = Experiment.load(body["experiment"], plan or _DEFAULT)
                    self._running[subject.group] = _Running(
                        experiment, subject, boot_ns, stored=text, stored_ns=boot_ns, is_changed=False
                    )
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                log.warning("state %r of the savings proof is not readable; the experiment restarts: %s", key, error)
                self._changed[key] = ""

    def is_paused(self, group: str) -> bool:
        """Whether the group's setting has to be suspended now, for a control block."""
        running = self._running.get(group)
        return running is not None and running.experiment.is_paused

    def feed(self, subject: Subject, readings: Round, *, open_arrivals: bool, wants: bool) -> None:
        """Process a round of a group. Its experiment starts when its policies first request a setting."""
        if self._plan is None:
            return
        running = self._running.get(subject.group)
        if running is not None and running.experiment.state.open_arrivals != open_arrivals:
            self._end(subject.group, readings.utc_ns)
            running = None
        if running is None:
            if not wants:
                return
            state = ExperimentState(readings.utc_ns, open_arrivals, salt=secrets.token_hex(8))
            running = self._running[subject.group] = _Running(Experiment(self._plan, state), subject, readings.boot_ns)
        running.subject, running.seen_ns = subject, readings.boot_ns
        was = running.experiment.is_measuring
        rows = running.experiment.feed(readings, subject)
        self._rows += rows
        running.is_changed |= bool(rows) or was != running.experiment.is_measuring

    def interrupt(self, group: str, why: str) -> None:
        """Discard and repeat the pair of blocks in progress."""
        if (running := self._running.get(group)) is not None:
            running.experiment.interrupt(why)

    def end_absent(self, boot_ns: int, utc_ns: int) -> None:
        """End the experiments of groups without a round at `boot_ns`: if absent for long or too many, or without a plan."""
        absent = [name for name, running in self._running.items() if running.seen_ns != boot_ns]
        over = [n for n in absent if self._plan is None or boot_ns - self._running[n].seen_ns > _MAX_ABSENCE_NS]
        if len(absent) - len(over) > _MAX_ABSENT:
            candidates = sorted(set(absent) - set(over), key=lambda name: self._running[name].seen_ns)
            over += first_of_largest(candidates, lambda name: self._running[name].subject.owner, len(candidates) - _MAX_ABSENT)
        for name in over:
            self._end(name, utc_ns)

    def _end(self, group: str, utc_ns: int) -> None:
        running = self._running.pop(group)
        self._rows += running.experiment.close(utc_ns, running.subject)
        for what, past in self._past.items():
            past.update(getattr(running.experiment.state, what))
        self._changed |= {_OF_GROUP + group: "", _ENDED: json.dumps(self._past)}

    def verdict(self, group: str) -> Verdict | None:
        """Result of the last analysis; None before the first one."""
        running = self._running.get(group)
        return running.experiment.state.verdict if running is not None else None

    def total_uj(self, what: Literal["claimed_uj", "lost_uj"], group: str | None = None) -> Counter[str]:
        """Claimed saving or estimated loss by device: of one group, or of all groups including former ones."""
        totals = Counter(self._past[what]) if group is None else Counter[str]()
        for name, running in self._running.items():
            if group in (None, name):
                totals.update(getattr(running.experiment.state, what))
        return totals

    def take(self, boot_ns: int, *, everything: bool = False) -> tuple[list[ProofRow], dict[str, str]]:
        """Return rows and changed states since the last call; "" removes a state. `everything`: store all states."""
        rows, self._rows = self._rows, []
        states, self._changed = self._changed, {}
        for running in self._running.values():
            if running.is_changed or everything or boot_ns - running.stored_ns >= _STORE_NS:
                subject = running.subject
                text = json.dumps(
                    {
                        "subject": [subject.group, subject.workload, subject.policy, subject.owner],
                        "experiment": running.experiment.dump(),
                    }
                )
                if text != running.stored:
                    states[_OF_GROUP + subject.group] = running.stored = text
                running.is_changed, running.stored_ns = False, boot_ns
        return rows, states
