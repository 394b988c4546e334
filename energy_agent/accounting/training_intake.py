"""Turn the cumulative counts that training processes report into rows of steps and tokens, each exactly once.

A process is identified by pid and start time from the kernel. Its last recorded counts are states of the journal
(`dump`), committed together with the rows. A report that arrives twice, or again after the agent was killed, adds only
the difference. Counts from before this journal first received reports are left out, because the energy of that
time is unknown; counts from while the agent was not running are recorded over that time.

The ranks of a group on this node do a step together: only the lead rank's steps are counted, and the tokens of all ranks.
Only workloads that have a device are recorded: steps without energy have no use here, and any process could claim some.
"""

import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from energy_agent.core.energy import Steps, Tokens
from energy_agent.core.ports import Clock
from energy_agent.core.saved_state import ONLY, UNREADABLE, Component, States, read_fields
from energy_agent.core.units import NS_PER_H, NS_PER_S
from energy_agent.core.workloads.training_report import OTHER, PHASES, RATE_MAX, TRAINING, ReportError, TrainingReport, is_local

_NUMBERS: Final = ("at_ns", "steps", "tokens")
_COMPONENTS: Final = (Component.TRAINING_COUNTS, Component.TRAINING_LABELS)
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Identity = tuple[int, int]
"""A process: pid, start time in clock ticks since boot."""
TOLD: Final = ("group", "model", "precision", "ranks")
"""Facts that a workload says of itself."""
PROCESSES_MAX, OF_PLACE_MAX = 512, 128
MODELS_MAX = 8
FACTS_NS = 60 * NS_PER_S
FACTS_OF_HOUR = 6
"""Maximum of changes of a workload's facts in any hour: each is a row of the hour's segment."""
EARLIER_BOOT_NS = -(1 << 62)
REPORTED_NS = 5 * NS_PER_S
"""How long a report shows what a rank is doing; ranks report once per second."""
LOOK_EVERY = 16  # commits between looking for processes that have ended
_TICK_NS = NS_PER_S // os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class ProcessCounts:
    """A process's counts as they are recorded."""

    pid: int
    start: int
    workload: str
    run: str
    at_ns: int
    steps: dict[str, int]
    tokens: int
    rank: int = 0
    world: int = 1
    group: str = ""
    model: str = ""
    precision: str = ""
    lead: bool = False


def dump(counted: Mapping[Identity, ProcessCounts | None]) -> dict[str, dict[str, str]]:
    """The states of processes; empty ones, which are removed, of those that have ended (None).

    Each process has two, in a component each: its numbers, which change with each report, and its labels. So a second writes
    the numbers that changed, whatever texts the processes report.
    """
    numbers, labels = dict[str, str](), dict[str, str]()
    for (pid, start), each in counted.items():
        name = f"{pid}-{start}"
        numbers[name] = labels[name] = ""
        if each is not None:
            body = asdict(each)
            numbers[name] = _encode({field: body.pop(field) for field in _NUMBERS})
            labels[name] = _encode(body)
    return {Component.TRAINING_COUNTS: numbers, Component.TRAINING_LABELS: labels}


def remove_all(states: States) -> dict[str, dict[str, str]]:
    """The change that removes the states of all processes."""
    return {component: dict.fromkeys(states.get(component, ()), "") for component in _COMPONENTS}


def load(states: States) -> dict[Identity, ProcessCounts]:
    """Every process that has states.

    Raises:
        UNREADABLE: a state is damaged, or one of the two of a process is missing.
    """
    numbers, labels = (states.get(component, {}) for component in _COMPONENTS)
    bodies = [json.loads(labels[name]) | json.loads(numbers[name]) for name in numbers.keys() | labels.keys()]
    counted = [ProcessCounts(**read_fields(ProcessCounts, body)) for body in bodies]
    return {(each.pid, each.start): each for each in counted}


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """What one commit takes over, all or nothing."""

    t_ns: int
    steps: tuple[Steps, ...] = ()
    tokens: tuple[Tokens, ...] = ()
    states: States = field(default_factory=dict)
    labels: Mapping[str, dict[str, str]] = field(default_factory=dict)  # by workload
    phases: Mapping[str, str] = field(default_factory=dict)  # of workloads that do something else than training steps now


@dataclass(slots=True)
class Latest:
    """The last report of a process."""

    workload: str
    report: TrainingReport
    at_ns: int
    since_ns: int  # when its counting began
    left_out: int = 0  # tokens that were more than a training can do; its report is without them
    at_boot_ns: int = 0  # `at_ns` and `since_ns` on the boot clock
    since_boot_ns: int = 0
    place: str = ""  # who shares its places


class TrainingReports:
    """Reports come in from any thread; the agent's loop drains them."""

    def __init__(
        self,
        clock: Clock,
        alive: Callable[[Identity], bool],
        machine_boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        """Begin without counts.

        Args:
            clock: of the node.
            alive: whether that very process still lives.
            machine_boot_ns: the clock that start times of processes are on, which a simulated node's is not.
        """
        self._clock, self._alive, self._machine_boot_ns = clock, alive, machine_boot_ns
        self._lock = threading.Lock()
        self._latest: dict[Identity, Latest] = {}
        self._committed_latest: dict[Identity, Latest] = {}
        self._counted: dict[Identity, ProcessCounts] = {}
        self._models: dict[str, set[str]] = {}
        self._labels: dict[str, tuple[deque[int], dict[str, str]]] = {}  # with when they last changed, on the boot clock
        self._owners: Collection[str] = ()
        self._began_boot_ns = clock.boot_ns()  # when this journal first listened; far back: in an earlier boot
        self._drains = 0
        self._touched: set[Identity] = set()  # whose states go into the next commit
        self._removed: States = {}  # by the next commit, except those that it writes
        self._is_begin_stored = False

    def restore(self, states: States, tokens: Iterable[tuple[str, str, str]]) -> bool:
        """Take up where the last commit ended; `tokens` are (workload, model, phase) with a total. False: not readable."""
        for workload, model, phase in tokens:
            if phase == TRAINING:
                self._models.setdefault(workload, set()).add(model)
        self._removed = remove_all(states)
        text = states.get(Component.TRAINING, {}).get(ONLY)
        if text is None:
            return True
        try:
            value = json.loads(text)
            self._counted = load(states)
            self._began_boot_ns = self._began(value)
        except UNREADABLE:
            self._counted = {}
            return False
        self._touched = set(self._counted)
        return True

    def _began(self, value: Mapping[str, Any]) -> int:
        """When this journal first listened, on the clock of this boot."""
        return int(value["began_boot_ns"]) if value["boot_id"] == self._clock.boot_id() else EARLIER_BOOT_NS

    def report(self, identity: Identity, workload: str, report: TrainingReport, place: str = "") -> None:
        """Take a report of a live process; raises ReportError with the reason for which it is not taken.

        No count is older than its process: the kernel has when that started. `place` names who shares its places, a uid or a
        workload, so that nobody takes those of others.
        """
        place = place or workload
        process_age_s = (self._machine_boot_ns() - identity[1] * _TICK_NS) / NS_PER_S
        report = replace(report, age_s=min(report.age_s, max(0.0, process_age_s)))
        now_ns, boot_ns = self._clock.utc_ns(), self._clock.boot_ns()
        second_s = self._clock.real_seconds(1.0) or 1.0
        age_ns = round(report.age_s / second_s * NS_PER_S)
        if max(0, 0, *report.steps.values()) > RATE_MAX * (report.age_s + 1):
            raise ReportError(f"more than {RATE_MAX} steps per second since counting started")
        with self._lock:
            before = self._latest.get(identity) or self._committed_latest.get(identity)
            if before is not None and before.report.run != report.run and boot_ns - age_ns < before.at_boot_ns - NS_PER_S:
                raise ReportError("another step counter of this process is still open")
            if identity not in self._latest and identity not in self._committed_latest:
                self._make_room(place)
            left_out = self._left_out(identity, report, before)
            report = replace(report, tokens=max(0, report.tokens - left_out))
            since_ns = max(0, now_ns - age_ns)  # UTC may be wrong
            latest = Latest(workload, report, now_ns, since_ns, left_out, boot_ns, boot_ns - age_ns, place)
            self._latest[identity] = self._committed_latest[identity] = latest

    def _left_out(self, identity: Identity, report: TrainingReport, before: Latest | None) -> int:
        """Tokens of a report that are not counted.

        Counts are cumulative, so an implausible number stays in the process's sum. It is subtracted from later reports, and
        the tokens that the process trains afterwards count.
        """
        left_out = recorded = 0
        counted = self._counted.get(identity)
        if before is not None and before.report.run == report.run:
            left_out, recorded = before.left_out, before.report.tokens
        elif counted is not None and counted.run == report.run:
            recorded = counted.tokens
        possible = report.tokens - left_out <= RATE_MAX * (report.age_s + 1)
        return left_out if possible else report.tokens - recorded

    def _make_room(self, place: str) -> None:
        """Evict a report of a workload that holds no device, if needed; raises ReportError where there is no room."""
        places = Counter(each.place for each in self._committed_latest.values())
        if places[place] >= OF_PLACE_MAX:
            raise ReportError(f"{OF_PLACE_MAX} processes of {place} already report, which is the maximum")
        if len(self._committed_latest) < PROCESSES_MAX:
            return
        evictable = [
            i for i, each in self._committed_latest.items() if i not in self._counted and each.workload not in self._owners
        ]
        if not evictable:
            raise ReportError(f"{PROCESSES_MAX} processes already report, which is the maximum")
        first = min(evictable, key=lambda i: (-places[self._committed_latest[i].place], self._committed_latest[i].at_boot_ns))
        del self._committed_latest[first]  # counts are cumulative: a later report of it brings them again
        self._latest.pop(first, None)

    def ranks(self, workload: str) -> list[Latest]:
        """The last reports of a workload, by rank. A job that has ended does not speak for one in its place."""
        with self._lock:
            reports = [(identity, each) for identity, each in self._committed_latest.items() if each.workload == workload]
        newest_ns = max((each.since_boot_ns for identity, each in reports if self._alive(identity)), default=0)
        current = [each for identity, each in reports if each.at_boot_ns >= newest_ns or self._alive(identity)]
        return sorted(current, key=lambda each: each.report.rank)

    def ended_ns(self, latest: Latest) -> int | None:
        """UTC ns at which the last training step of a report ended; None where the report does not include it."""
        age_s, second_s = latest.report.step_age_s, self._clock.real_seconds(1.0) or 1.0  # ages are of the machine's time
        return None if age_s is None else latest.at_ns - round(age_s / second_s * NS_PER_S)

    def drain(self, owners: Collection[str]) -> TrainingBatch:
        """Rows since the last call of workloads that hold a device, and the counts they came of: to be committed together."""
        now_ns = self._clock.utc_ns()
        with self._lock:
            self._owners = frozenset(owners)
            taken = {i: each for i, each in self._latest.items() if each.workload in owners}
            for identity in taken:
                del self._latest[identity]
        steps: list[Steps] = []
        tokens: list[Tokens] = []
        for identity, latest in sorted(taken.items(), key=lambda item: item[1].report.rank):
            self._book(identity, latest, steps, tokens)
        self._drains += 1
        if self._drains % LOOK_EVERY == 0:
            self._forget_dead()
            self._forget_ended({*owners, *(counted.workload for counted in self._counted.values())})
        labels = dict(self._facts({each.workload for each in taken.values()}, self._clock.boot_ns()))
        written = dump({identity: self._counted.get(identity) for identity in self._touched})
        states = {component: {**self._removed.get(component, {}), **texts} for component, texts in written.items()}
        self._removed = {}
        self._touched.clear()
        if not self._is_begin_stored:
            began = {"boot_id": self._clock.boot_id(), "began_boot_ns": self._began_boot_ns}
            states[Component.TRAINING], self._is_begin_stored = {ONLY: json.dumps(began)}, True
        return TrainingBatch(now_ns, tuple(steps), tuple(tokens), states, labels, self._phases(self._clock.boot_ns()))

    def _phases(self, boot_ns: int) -> dict[str, str]:
        """What the lead rank of each workload does by a report of the last seconds, unless it trains."""
        with self._lock:
            reports = [each for each in self._committed_latest.values() if boot_ns - each.at_boot_ns <= REPORTED_NS]
        leads: dict[str, Latest] = {}
        for each in reports:
            lead = leads.get(each.workload)
            if lead is None or each.report.rank < lead.report.rank:
                leads[each.workload] = each
        doing = {workload: lead.report.doing for workload, lead in leads.items()}
        return {workload: name if name in PHASES else OTHER for workload, name in doing.items() if name != TRAINING}

    def _book(self, identity: Identity, latest: Latest, steps: list[Steps], tokens: list[Tokens]) -> None:
        report, before, first = latest.report, self._counted.get(identity), False
        if before is None or before.run != report.run:
            has_start = latest.since_boot_ns >= self._began_boot_ns
            zero = (dict.fromkeys(report.steps, 0), 0) if has_start else (dict(report.steps), report.tokens)
            start_ns = latest.since_ns if has_start else latest.at_ns
            before, first = ProcessCounts(*identity, latest.workload, report.run, start_ns, *zero), True
        counted = ProcessCounts(
            *identity, latest.workload, report.run, latest.at_ns, dict(report.steps), report.tokens,
            report.rank, report.world, report.group, self._model(latest.workload, report.model), report.precision,
        )  # fmt: skip
        self._counted[identity] = counted
        counted.lead = self._leads(identity, counted)
        start_ns, end_ns, workload = min(before.at_ns, latest.at_ns), latest.at_ns, latest.workload
        if counted.lead:
            for phase, count in report.steps.items():
                done = count - before.steps.get(phase, 0)
                if done > 0 or (first and done == 0):  # counters appear at 0 when they are first seen
                    steps.append(Steps(start_ns, end_ns, workload, phase, done))
        trained = report.tokens - before.tokens
        if trained > 0 or (first and report.tokens > 0 and trained == 0):
            tokens.append(Tokens(start_ns, end_ns, workload, counted.model, TRAINING, trained))
        self._touched.add(identity)

    def _model(self, workload: str, model: str) -> str:
        models = self._models.setdefault(workload, set())
        if model in models or len(models) < MODELS_MAX:
            models.add(model)
            return model
        return OTHER

    def _leads(self, identity: Identity, counted: ProcessCounts) -> bool:
        """Whether this process is the one of its group that is counted: the first that came, while it lives."""
        if not counted.group and counted.world <= 1:
            return True
        for other, each in list(self._counted.items()):
            same = (each.workload, each.group, each.world) == (counted.workload, counted.group, counted.world)
            if other == identity or not same or not each.lead:
                continue
            if self._alive(other):
                return False
            each.lead = False
            self._touched.add(other)
        return True

    def _forget_dead(self) -> None:
        """A process that has ended reports no more; all it said is recorded."""
        with self._lock:
            waiting, committed_ids = set(self._latest), list(self._committed_latest)
        gone = {i for i in {*committed_ids, *self._counted} if i not in waiting and not self._alive(i)}
        gone |= {i for i in waiting if not self._alive(i) and self._stale(i)}
        with self._lock:
            for identity in gone:
                self._committed_latest.pop(identity, None)
                self._latest.pop(identity, None)
        for identity in gone & self._counted.keys():
            del self._counted[identity]
            self._touched.add(identity)

    def _forget_ended(self, kept: Collection[str]) -> None:
        """What is known of workloads goes with their series."""
        self._models = {workload: models for workload, models in self._models.items() if workload in kept}
        self._labels = {workload: labels for workload, labels in self._labels.items() if workload in kept}

    def _stale(self, identity: Identity) -> bool:
        """It ended a while ago and never was seen to hold a device."""
        latest = self._latest.get(identity)
        return latest is None or self._clock.boot_ns() - latest.at_boot_ns > FACTS_NS

    def _facts(self, workloads: Iterable[str], boot_ns: int) -> Iterable[tuple[str, dict[str, str]]]:
        for workload in workloads:
            ranks = [c for c in self._counted.values() if c.workload == workload]
            label_rows = ((("" if is_local(c.group) else c.group), c.model, c.precision) for c in ranks)
            labels = dict(zip(TOLD[:3], map(_agreed, zip(*label_rows, strict=True)), strict=True))
            labels["ranks"] = str(max((c.world for c in ranks), default=1))
            changes, previous = self._labels.get(workload, (deque[int](maxlen=FACTS_OF_HOUR), {}))
            if labels != previous and _may_change(changes, boot_ns):
                changes.append(boot_ns)
                self._labels[workload] = changes, labels
                yield workload, labels


def _may_change(changes: deque[int], boot_ns: int) -> bool:
    soon = bool(changes) and boot_ns - changes[-1] < FACTS_NS
    return not soon and (len(changes) < FACTS_OF_HOUR or boot_ns - changes[0] >= NS_PER_H)


def _agreed(values: Iterable[str]) -> str:
    """What all say; "" where they differ, as a workload can be of one model only where it is of one."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else ""
