"""The experiments of a node's groups: fed with what the governor sees, kept over restarts, and what they claim by device."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dvfs.proof.estimate import Verdict
from dvfs.proof.experiment import Experiment, Round, Subject
from dvfs.proof.plan import Plan
from energy_agent.core.fair_shares import first_of_largest
from energy_agent.core.proof import ProofRow
from energy_agent.core.units import NS_PER_S

log = logging.getLogger(__name__)
_STORE_NS: Final = 60 * NS_PER_S
"""So often a state is stored while nothing comes of it: after a kill, what was enforced since then is not claimed."""
_FORGET_NS: Final = 3600 * NS_PER_S  # so long after its group was seen last, an experiment ends
_GONE_MAX: Final = 128
"""Experiments of groups that are gone; of more, the owner with the most loses its own first: they end at once."""
_OF_GROUP: Final = "group "
_ENDED: Final = "ended"
_DEFAULT: Final = Plan(0, None, 30.0, 4.0, 270.0)  # of an experiment that ends because no plan is configured any more


@dataclass(slots=True)
class _Running:
    experiment: Experiment
    subject: Subject
    seen_ns: int
    here: bool = False
    stored: str = ""
    stored_ns: int = 0
    is_new: bool = True  # something came of it that is not stored yet


class Experiments:
    """See the module. One thread uses it."""

    def __init__(self, plan: Plan | None, states: Mapping[str, str], boot_ns: int) -> None:
        """Go on from the states of an earlier one; one that is not readable is left out, with a message."""
        self._plan = plan
        self._running: dict[str, _Running] = {}
        self._rows: list[ProofRow] = []
        self._removed: set[str] = set()
        self._past_claimed, self._past_lost = Counter[str](), Counter[str]()
        self._past_is_new = False
        for key, text in states.items():
            try:
                body = json.loads(text)
                if key == _ENDED:
                    self._past_claimed.update({str(uuid): int(uj) for uuid, uj in body["claimed_uj"].items()})
                    self._past_lost.update({str(uuid): int(uj) for uuid, uj in body["lost_uj"].items()})
                else:
                    subject = Subject(*(str(part) for part in body["subject"]))
                    found = Experiment.load(body["experiment"], plan or _DEFAULT)
                    self._running[subject.group] = _Running(
                        found, subject, boot_ns, stored=text, stored_ns=boot_ns, is_new=False
                    )
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                log.warning("the proof of %s is not readable and begins anew: %s", key, error)
                self._removed.add(key)

    def is_paused(self, group: str) -> bool:
        """Whether the group's setting is to be off now."""
        running = self._running.get(group)
        return running is not None and running.experiment.is_paused

    def feed(self, subject: Subject, seen: Round, *, open_arrivals: bool, wants: bool) -> None:
        """Take what is seen of a group in a round. Its experiment begins when it first wants something."""
        running = self._running.get(subject.group)
        if running is not None and running.experiment.open_arrivals != open_arrivals:
            self._end(subject.group, seen.utc_ns)
            running = None
        if running is None:
            if self._plan is None or not wants:
                return
            experiment = Experiment(self._plan, seen.utc_ns, open_arrivals=open_arrivals)
            running = self._running[subject.group] = _Running(experiment, subject, seen.boot_ns)
            self._removed.discard(_OF_GROUP + subject.group)
        running.subject, running.seen_ns, running.here = subject, seen.boot_ns, True
        was = running.experiment.is_measuring
        rows = running.experiment.feed(seen, subject)
        self._rows += rows
        running.is_new |= bool(rows) or was != running.experiment.is_measuring

    def interrupt(self, group: str, why: str) -> None:
        """A pair of blocks that has begun is begun again."""
        if (running := self._running.get(group)) is not None:
            running.experiment.interrupt(why)

    def gone(self, group: str) -> None:
        """The group is not seen now; after a while its experiment ends."""
        self.interrupt(group, "the group was gone")
        if (running := self._running.get(group)) is not None:
            running.here = False

    def forget(self, boot_ns: int, utc_ns: int) -> None:
        """End what is over: experiments of groups that are gone for long, or are too many, or have no plan any more."""
        gone = [name for name, running in self._running.items() if not running.here]
        over = [n for n in gone if self._plan is None or boot_ns - self._running[n].seen_ns > _FORGET_NS]
        if len(gone) - len(over) > _GONE_MAX:
            left = sorted(set(gone) - set(over), key=lambda name: self._running[name].seen_ns)
            over += first_of_largest(left, lambda name: self._running[name].subject.owner, len(left) - _GONE_MAX)
        for name in over:
            self._end(name, utc_ns)

    def _end(self, group: str, utc_ns: int) -> None:
        running = self._running.pop(group)
        self._rows += running.experiment.close(utc_ns, running.subject)
        self._past_claimed.update(running.experiment.claimed_uj)
        self._past_lost.update(running.experiment.lost_uj)
        self._past_is_new = True
        self._removed.add(_OF_GROUP + group)

    def verdict(self, group: str) -> Verdict | None:
        """Of the last analysis; None before the first."""
        running = self._running.get(group)
        return running.experiment.verdict if running is not None else None

    def claimed_uj(self, group: str | None = None) -> Counter[str]:
        """What may be claimed, by device: of one group, or of all that ever were."""
        return self._sum("claimed_uj", self._past_claimed, group)

    def lost_uj(self) -> Counter[str]:
        """The estimate of losses, by device."""
        return self._sum("lost_uj", self._past_lost, None)

    def _sum(self, what: str, past: Counter[str], group: str | None) -> Counter[str]:
        found = Counter(past) if group is None else Counter[str]()
        for name, running in self._running.items():
            if group in (None, name):
                found.update(getattr(running.experiment, what))
        return found

    def take(self, boot_ns: int, *, everything: bool = False) -> tuple[list[ProofRow], dict[str, str]]:
        """Rows since the last call, and the states that changed; an empty one is removed. `everything`: it ends now."""
        rows, self._rows = self._rows, []
        states = dict.fromkeys(self._removed, "")
        self._removed = set()
        if self._past_is_new:
            self._past_is_new = False
            states[_ENDED] = json.dumps({"claimed_uj": self._past_claimed, "lost_uj": self._past_lost})
        for running in self._running.values():
            if running.is_new or everything or boot_ns - running.stored_ns >= _STORE_NS:
                subject = running.subject
                text = json.dumps(
                    {
                        "subject": [subject.group, subject.workload, subject.policy, subject.owner],
                        "experiment": running.experiment.dump(),
                    }
                )
                if text != running.stored:
                    states[_OF_GROUP + subject.group] = running.stored = text
                running.is_new, running.stored_ns = False, boot_ns
        return rows, states
