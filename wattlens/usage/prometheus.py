"""Rows of a period from the counters of agents in a Prometheus: those of all nodes, or those of one job.

An agent's counters come from its journal: they begin at 0, continue over its restarts and never fall. So a counter grows in a
window by its last value there less its last value before. Without scrapes nothing is lost, and no value is extrapolated.

Laws of nodes (tests/wattlens/usage/test_prometheus.py):

- The rows of a device sum to the growth of its totals, in whole uJ. What its parts do not explain is unattributed (gap). What
  they claim beyond it is cut in proportion.
- A counter without an earlier value counts from 0 if that fits into what its device drew, else from its first value.
- A total that falls is that of a new journal: it counts from 0, and the energy between the two is a gap.

The few series of a job are read by the names of its workloads, over all nodes. A workload's counters begin at 0 with it and
stay for some minutes after its end. What Prometheus did not scrape before a node was lost is missing.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Final, NamedTuple

from energy_agent.core.boundary import UNBOUNDED, host, is_gpu
from energy_agent.core.energy import Method, State
from energy_agent.core.errors import WattlensError
from energy_agent.core.meters.difference import energy_uj, mean_mw
from energy_agent.core.units import NS_PER_DAY, NS_PER_MS, NS_PER_S, split_integer
from energy_agent.ledger.history_import.dcgm import exporter_label, own_pods, uuid
from energy_agent.ledger.rows.kinds import CELL_NS
from wattlens.prometheus.history import Labels, PrometheusHistory, TooMuchError, selector
from wattlens.usage.job_address import JobAddress
from wattlens.usage.record import EnergyRecord, Owner, day_of

Families = Mapping[str, tuple[str, ...]]
"""Names without the prefix, and the labels that distinguish counters; a first label `uuid` or `domain` is the device."""
Target = tuple[str, str]
"""Instance and job of a scrape."""
Scope = tuple[str, int, int]
"""Matchers in PromQL, start and end."""

PREFIX: Final = "wattlens_"
_TOTALS: Final[Families] = {
    "gpu_energy_joules_total": ("uuid", "method"),
    "node_nongpu_energy_joules_total": ("domain", "method"),
}
_OF_WORKLOADS: Final[Families] = {
    "workload_energy_joules_total": ("uuid", "workload", "state", "method"),
    "workload_nongpu_energy_joules_total": ("domain", "workload", "state"),
}
_PARTS: Final[Families] = {
    "gpu_unallocated_energy_joules_total": ("uuid",),
    "gpu_unattributed_energy_joules_total": ("uuid", "reason"),
    "node_nongpu_unallocated_energy_joules_total": ("domain",),
    "node_nongpu_unattributed_energy_joules_total": ("domain", "reason"),
    **_OF_WORKLOADS,
}
_GAPS: Final[Families] = {
    "gpu_energy_gap_bound_joules_total": ("uuid",),
    "node_nongpu_energy_gap_bound_joules_total": ("domain",),
}
_TOKENS: Final[Families] = {"tokens_total": ("workload", "model", "phase")}
_STEPS: Final[Families] = {"training_steps_total": ("workload", "phase")}
_GPU_TIME: Final[Families] = {"workload_gpu_seconds_total": ("workload", "state")}
_COUNTERS: Final[Families] = {**_TOTALS, **_PARTS, **_GAPS, **_TOKENS}
_GAINS: Final[Families] = {
    "gpu_energy_gain_uncertainty_ratio": ("uuid",),
    "node_nongpu_energy_gain_uncertainty_ratio": ("domain",),
}
_EDGE: Final[Families] = {"gpu_energy_edge_uncertainty_joules": ("uuid",)}
_LIMIT: Final[Families] = {"gpu_power_limit_max_watts": ("uuid",)}
_VALUES: Final = ("max_over_time", "min_over_time")
_SCALES: Final = {"joules": 1_000_000, "ratio": 1_000_000, "watts": 1_000, "seconds": NS_PER_S}
"""From the units of metrics to uJ, ppm, mW and ns; all else is counted."""
_ESTIMATED: Final = (Method.INTEGRATED, Method.MODELLED)
_LABELS: Final = ("namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class")
_HEADROOM: Final = (6, 5)  # transients pass the limit by a fifth, as the agent takes it
_AGE_NS: Final = 2_500 * NS_PER_MS
"""A response shows the last second's commit, and a scrape may take a second or more."""
_STALE_NS: Final = 300 * NS_PER_S
"""How old the last value before a period can be: Prometheus looks back as far."""
_ALIVE_NS: Final = 3600 * NS_PER_S
"""How far before a period the last value of a job's counter is searched."""
_LEAST_NS: Final = 60 * NS_PER_S
_NAMES_MAX: Final = 50
"""Workloads per query: the length of a query is bounded."""
_WINDOWS_MAX: Final = 192


class CounterKey(NamedTuple):
    """Which counter. `device` is "" where it has none; `labels` are those of its family, without the device."""

    cluster: str
    node: str
    family: str
    device: str
    labels: tuple[str, ...]

    @property
    def owner(self) -> Owner:
        """Its workload."""
        return self.cluster, self.node, self.labels[0]


Values = dict[CounterKey, int]
"""In uJ, ns, mW, ppm or counts."""


@dataclass
class AgentCounters:
    """Series of agents within [start_ns, end_ns). `match` are labels that every series must have."""

    history: PrometheusHistory
    match: Mapping[str, str]
    start_ns: int
    end_ns: int
    known_nodes: dict[Target, tuple[str, str]] = field(default_factory=dict)
    _exporter_pods: dict[Target, set[tuple[str, str]]] = field(default_factory=dict)

    def select(self, family: str, selection: str) -> str:
        """A selector of a family."""
        return selector(PREFIX + family, self.match, further=selection)

    def find_nodes(self) -> dict[tuple[str, str], set[Target]]:
        """Cluster and node of each agent, and the targets that its series came from."""
        nodes: dict[tuple[str, str], set[Target]] = {}
        for label, other in (("exported_node", {}), ("node", {"exported_node": ""})):
            match = {**self.match, **other}
            select = selector(f"{PREFIX}node_info", match)
            for name in filter(None, self.history.label_values(label, select, self.start_ns, self.end_ns)):
                of_node = selector(f"{PREFIX}node_info", {**match, label: name})
                for labels in self.history.series(of_node, self.start_ns, self.end_ns):
                    nodes.setdefault((exporter_label(labels, "cluster"), name), set()).add(target_of(labels))
        return nodes

    def node_of(self, labels: Labels) -> tuple[str, str]:
        """Cluster and node of a series, by the target that it was scraped from."""
        target = target_of(labels)
        if target not in self.known_nodes:
            infos = self.history.series(self.select("node_info", of_target(target)), self.start_ns, self.end_ns)
            names = sorted({(exporter_label(info, "cluster"), exporter_label(info, "node")) for info in infos})
            self.known_nodes[target] = names[-1] if names else ("", target[0])
        return self.known_nodes[target]

    def workload_labels(self, labels: Labels) -> tuple[str, dict[str, str]]:
        """Kind and labels of a workload by its `workload_info`; a pod that Prometheus adds as the agent's own is not its."""
        target = target_of(labels)
        if target not in self._exporter_pods:
            self._exporter_pods[target] = own_pods(
                self.history.series(f"up{{{of_target(target)}}}", self.start_ns, self.end_ns)
            )
        metadata = {name: value for name in _LABELS if (value := exporter_label(labels, name))}
        if (
            "exported_pod" not in labels
            and (metadata.get("namespace", ""), metadata.get("pod", "")) in self._exporter_pods[target]
        ):
            metadata = {name: value for name, value in metadata.items() if name not in ("namespace", "pod")}
        return exporter_label(labels, "kind"), metadata

    def values(
        self,
        families: Iterable[tuple[str, tuple[str, ...]]],
        scopes: Iterable[Scope],
        function: str = "max_over_time",
        node: tuple[str, str] | None = None,
    ) -> Values:
        """The largest value of each counter; with `min_over_time` the smallest. `node` is that of all series.

        Replicas of a Prometheus, and a node that was scraped under several addresses, have one counter each.
        """
        values: Values = {}
        better = min if function == "min_over_time" else max
        for (family, names), scope in product(families, scopes):
            scale = next((scale for unit, scale in _SCALES.items() if f"_{unit}" in family), 1) if function in _VALUES else 1
            for labels, value in self.instant(function, family, *scope):
                key = _key_of(family, names, labels, node or self.node_of(labels))
                if key is not None:
                    number = round(value * scale)
                    values[key] = better(number, values.get(key, number))
        return values

    def instant(
        self, function: str, family: str, selection: str, start_ns: int, end_ns: int
    ) -> Iterator[tuple[Labels, Decimal]]:
        """What a function gives of each series over (start, end]; over two halves where that is too much at once."""
        query = f"{function}({self.select(family, selection)}[{max(1, (end_ns - start_ns) // NS_PER_MS)}ms])"
        try:
            yield from self.history.instant(query, end_ns)
        except TooMuchError:
            if end_ns - start_ns <= _LEAST_NS:
                raise
            middle_ns = (start_ns + end_ns) // 2
            yield from self.instant(function, family, selection, start_ns, middle_ns)
            yield from self.instant(function, family, selection, middle_ns, end_ns)


def target_of(labels: Labels) -> Target:
    """The target that a series was scraped from."""
    return labels.get("instance", ""), labels.get("job", "")


def of_target(target: Target) -> str:
    """Matchers of the series of a target."""
    return f"instance={json.dumps(target[0])},job={json.dumps(target[1])}"


def _key_of(family: str, names: Sequence[str], labels: Labels, node: tuple[str, str]) -> CounterKey | None:
    """The counter of a series; None for a device or a state that it cannot be of."""
    values = [exporter_label(labels, name) for name in names]
    device = ""
    if names[0] in ("uuid", "domain"):
        name = values.pop(0)
        device = uuid(name) if names[0] == "uuid" else host(*node) if name == "host" else ""
        if not device:
            return None
    if "state" in names and exporter_label(labels, "state") not in (State.ACTIVE, State.IDLE):
        return None
    return CounterKey(*node, family, device, tuple(values))


def read_counters(
    history: PrometheusHistory,
    start_ns: int,
    end_ns: int,
    match: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> EnergyRecord:
    """What a Prometheus has of all agents within [start_ns, end_ns).

    Args:
        history: the Prometheus.
        start_ns: start of the period, an edge of a cell.
        end_ns: its end, at most now.
        match: labels that every series must have.
        progress: called with the numbers of (completed, all) nodes.

    Raises:
        UsageError: `match` has a name that cannot be a label's.
        WattlensError: no agent found, or no usable response.
    """
    record = EnergyRecord(f"Prometheus {history.access.url}", start_ns, end_ns)
    counters = AgentCounters(history, match, start_ns - _STALE_NS, end_ns)
    nodes = counters.find_nodes()
    if not nodes:
        raise WattlensError(f"{history.access.url}: no series of Wattlens agents found in this period")
    for number, (node, targets) in enumerate(sorted(nodes.items()), 1):
        NodeCounters(counters, record, node, sorted(targets)).read()
        if progress is not None:
            progress(number, len(nodes))
    return record


class _TargetWindow(NamedTuple):
    """When a target named the node within a window: its scope up to the last scrape, the first one, and how many there were."""

    scope: Scope
    first_ns: int
    scrapes: int


@dataclass(slots=True)
class _DeviceWindow:
    """Growth of a device's counters over [start_ns, end_ns), by workload and state.

    `estimated_uj` is what the hardware did not count, and `unseen_ns` how long before a new journal nothing was scraped.
    """

    start_ns: int
    end_ns: int
    metered_ns: int
    parts: dict[tuple[str, str], int]
    estimated_uj: int
    gap_uj: int
    unseen_ns: int

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return sum(self.parts.values())


@dataclass
class NodeCounters:
    """Reads the counters of one node, window by window, into a record."""

    counters: AgentCounters
    record: EnergyRecord
    node: tuple[str, str]
    targets: Sequence[Target]
    _last: Values = field(default_factory=dict)
    _read_ns: int | None = None  # when its counters were last read
    _until: dict[str, int] = field(default_factory=dict)  # the same of each device
    _age_ns: int = 0  # of the values before the period
    _new: set[str] = field(default_factory=set)  # workloads whose counters began within the period
    _restarted: Counter[str] = field(default_factory=Counter)  # devices whose totals began again before the next window
    _windows: dict[str, list[_DeviceWindow]] = field(default_factory=dict)

    def read(self) -> None:
        """Add all of it to the record."""
        start_ns, end_ns = self.record.start_ns, self.record.end_ns
        self._read_window(start_ns - _STALE_NS, start_ns)
        for at_ns in range(day_of(start_ns), end_ns, NS_PER_DAY):
            self._read_window(max(at_ns, start_ns), min(at_ns + NS_PER_DAY, end_ns))
        self._add_rows()

    def _read_window(self, start_ns: int, end_ns: int) -> None:
        """Read the growth within (start, end]; where a journal began, first what is before it and then the rest."""
        targets = self._find_targets(start_ns, end_ns)
        if resets := self._count_resets(targets):
            middle_ns = (start_ns + end_ns) // 2
            for half in ((start_ns, middle_ns), (middle_ns, end_ns)):
                resets -= self._count_resets(self._find_targets(*half))
            self._read_window(start_ns, middle_ns)
            self._restarted |= resets
            self._read_window(middle_ns, end_ns)
            return
        scopes = [each.scope for each in targets]
        values = self._read(_COUNTERS.items(), scopes)
        if values and end_ns <= self.record.start_ns:
            self._age_ns = self.record.start_ns - max(scope[2] for scope in scopes)
            self._read_ns = self.record.start_ns
            self._until |= dict.fromkeys((key.device for key in values), self._read_ns)
        elif values:
            new = {key.family for key in values if key not in self._last}
            first = self._read([each for each in _COUNTERS.items() if each[0] in new], scopes, "min_over_time")
            first_ns, last_ns = min(each.first_ns for each in targets), max(scope[2] for scope in scopes)
            counts = self._read(_TOTALS.items(), scopes, "count_over_time")
            for device in sorted({key.device for key in values} - {""}):
                count = max((number for key, number in counts.items() if key.device == device), default=0)
                share = min(Fraction(1), Fraction(count, max(each.scrapes for each in targets)))
                self._grow(device, values, first, (first_ns, last_ns), share)
            self._read_ns = last_ns
            self._restarted.clear()
            self._add_tokens(values, first, start_ns)
            self._add_labels(scopes, start_ns)
        self._last |= values

    def _count_resets(self, targets: Sequence[_TargetWindow]) -> Counter[str]:
        """How often the totals of devices began again between two scrapes of a window."""
        resets = self._read(_TOTALS.items(), [each.scope for each in targets], "resets")
        return +Counter({key.device: number for key, number in resets.items()})

    def _find_targets(self, start_ns: int, end_ns: int) -> list[_TargetWindow]:
        return [each for target in self.targets if (each := self._find_scrapes(target, start_ns, end_ns))]

    def _find_scrapes(self, target: Target, start_ns: int, end_ns: int) -> _TargetWindow | None:
        """Find the scrapes in which a target was this node's; an address may be another one's before and after."""
        match = {**self.counters.match, "instance": target[0], "job": target[1]}
        times: list[list[int]] = []
        for series in self.counters.history.samples(f"{PREFIX}node_info", match, start_ns, end_ns):
            if (exporter_label(series.labels, "cluster"), exporter_label(series.labels, "node")) == self.node:
                times.append([t_ns for t_ns, _ in series.samples if t_ns > start_ns])
                self.record.simulated |= exporter_label(series.labels, "simulated") == "true"
        all_times = [t_ns for of_series in times for t_ns in of_series]
        if not all_times:
            return None
        first_ns = min(all_times)
        return _TargetWindow((of_target(target), first_ns - NS_PER_MS, max(all_times)), first_ns, max(map(len, times)))

    def _read(
        self, families: Iterable[tuple[str, tuple[str, ...]]], scopes: Sequence[Scope], function: str = "max_over_time"
    ) -> Values:
        return self.counters.values(families, scopes, function, self.node)

    def _grow(self, device: str, values: Values, first: Values, scrapes_ns: tuple[int, int], share: Fraction) -> None:
        """Note the growth of a device; `share` is the part of the window's scrapes that had its totals."""
        keys = sorted(key for key in values if key.device == device)
        totals = [key for key in keys if key.family in _TOTALS]
        fell = device in self._restarted or any(values[key] < self._last.get(key, 0) for key in totals)
        if fell:
            self._last |= {key: 0 for key in self._last if key.device == device}
        before = {key: self._last.get(key, 0 if fell else first.get(key, 0)) for key in keys}
        growth = {key: max(0, values[key] - before[key]) for key in keys}
        drawn_uj = sum(growth[key] for key in totals)
        claims = {key: growth[key] for key in keys if key.family in _PARTS}
        for key in claims:
            if key not in self._last and 0 <= before[key] <= drawn_uj - sum(claims.values()):
                claims[key] += before[key]
                self._new |= {key.labels[0]} if key.family in _OF_WORKLOADS else set()
        if sum(claims.values()) > drawn_uj:
            claims = dict(zip(claims, split_integer(drawn_uj, list(claims.values())), strict=True))
        parts: dict[tuple[str, str], int] = {("", State.GAP): drawn_uj - sum(claims.values())}
        for key, uj in claims.items():
            parts[_owner_of(key)] = parts.get(_owner_of(key), 0) + uj
        first_ns, end_ns = scrapes_ns
        begin_ns = first_ns if self._read_ns is None else self._read_ns
        start_ns, self._until[device] = self._until.get(device, begin_ns), end_ns
        if end_ns > start_ns:
            self._windows.setdefault(device, []).append(
                _DeviceWindow(
                    start_ns,
                    end_ns,
                    int((end_ns - begin_ns) * share),
                    {owner: uj for owner, uj in parts.items() if uj},
                    sum(growth[key] for key in totals if key.labels[0] in _ESTIMATED),
                    sum(growth[key] for key in keys if key.family in _GAPS),
                    fell * (first_ns - start_ns),
                )
            )

    def _add_tokens(self, values: Values, first: Values, day_ns: int) -> None:
        for key, value in values.items():
            if key.family in _TOKENS:
                workload, model, phase = key.labels
                before = self._last.get(key, 0 if workload in self._new else first.get(key, 0))
                add_tokens(self.record, key.owner, day_ns, phase, model, value if value < before else value - before)

    def _add_labels(self, scopes: Sequence[Scope], day_ns: int) -> None:
        """Add labels of workloads: those of the window, then those at its end, which are the last."""
        infos = [info for scope in scopes for info in self.counters.instant("max_over_time", "workload_info", *scope)]
        for selection, _, end_ns in scopes:
            infos += self.counters.history.instant(self.counters.select("workload_info", selection), end_ns)
        for sequence, (labels, _) in enumerate(infos):
            owner = (*self.node, exporter_label(labels, "workload"))
            kind, text = self.counters.workload_labels(labels)
            self.record.add_labels(owner, day_ns, kind, json.dumps(text, separators=(",", ":")), sequence)

    def _add_rows(self) -> None:
        """Add the windows of all devices as day sums."""
        scopes = [(of_target(target), self.record.start_ns - _STALE_NS, self.record.end_ns) for target in self.targets]
        limits_mw, edges_uj, gains_ppm = (
            {key.device: value for key, value in self._read(families.items(), scopes).items()}
            for families in (_LIMIT, _EDGE, _GAINS)
        )
        for device, ppm in gains_ppm.items():
            add_gain(self.record, (*self.node, device), ppm)
        for device, windows in self._windows.items():
            limit_mw = limits_mw.get(device, 0) * _HEADROOM[0] // _HEADROOM[1]
            power_mw = limit_mw or max(mean_mw(window.energy_uj, window.end_ns - window.start_ns) for window in windows)
            edge_uj = edges_uj.get(device, 0) + energy_uj(power_mw, _AGE_NS)
            for window in windows:
                window.gap_uj += energy_uj(limit_mw, window.unseen_ns)
                if window.unseen_ns and not limit_mw:
                    add_open_gap(self.record, (*self.node, device), window.end_ns - 1)
                age_ns = self._age_ns if window.start_ns == self.record.start_ns else 0
                seconds = max(1, (window.end_ns - window.start_ns) // NS_PER_S)
                inner_uj = min(window.estimated_uj, seconds * edges_uj.get(device, window.estimated_uj))
                self._add_window(device, window, (edge_uj + energy_uj(power_mw, age_ns), inner_uj, edge_uj))

    def _add_window(self, device: str, window: _DeviceWindow, edges_uj: tuple[int, int, int]) -> None:
        """Add a window as day sums. Power that is integrated has an edge in each second, which do not cancel."""
        first_uj, inner_uj, last_uj = edges_uj
        place, times, used_uj = (*self.node, device), (window.start_ns, window.end_ns), dict[str, int]()
        holders = []
        for (workload, state), uj in window.parts.items():
            inner = -(-inner_uj * uj // window.energy_uj)
            holders.append((*place, workload, state, Method.COUNTER, uj, 0, *times, first_uj, inner, last_uj))
            used_uj[workload] = used_uj.get(workload, 0) + inner
        spans = [
            (*place, workload, *times, first_uj, inner, last_uj, 0, window.gap_uj, 0)
            for workload, inner in used_uj.items()
            if workload
        ]
        spans.append((*place, "", *times, first_uj, inner_uj, last_uj, window.metered_ns, window.gap_uj, 0))
        day_ns = day_of(window.end_ns - 1)
        self.record.add_day(day_ns, "holder_day", holders)
        self.record.add_day(day_ns, "span_day", spans)


def add_tokens(record: EnergyRecord, owner: Owner, t_ns: int, phase: str, model: str, tokens: int) -> None:
    """Add tokens that a workload counted."""
    where = dict(zip(("cluster", "node", "workload"), owner, strict=True))
    record.add_row("tokens", **where, day_ns=day_of(t_ns), cell_start_ns=t_ns, phase=phase, model=model, tokens=tokens)


def add_gain(record: EnergyRecord, place: tuple[str, str, str], gain_ppm: int) -> None:
    """Add the bound of a device's gain error."""
    record.add_row("device", cluster=place[0], node=place[1], device=place[2], gain_ppm=gain_ppm)


def add_open_gap(record: EnergyRecord, place: tuple[str, str, str], t_ns: int) -> None:
    """Add a gap whose energy nothing bounds."""
    where = dict(zip(("cluster", "node", "device"), place, strict=True))
    times = dict.fromkeys(("cell_start_ns", "start_ns", "end_ns"), t_ns)
    record.add_row("gap", **where, **times, day_ns=day_of(t_ns), reason=f"{UNBOUNDED}a new journal")


def _owner_of(key: CounterKey) -> tuple[str, str]:
    """Workload and state of a part of a device's energy."""
    if key.family in _OF_WORKLOADS:
        return key.labels[0], key.labels[1]
    return "", f"unattributed:{key.labels[0]}" if key.labels else State.UNALLOCATED


def read_job_counters(
    history: PrometheusHistory, start_ns: int, end_ns: int, address: JobAddress, match: Mapping[str, str]
) -> EnergyRecord:
    """What a Prometheus has of a job within [start_ns, end_ns); without labels where it has nothing.

    Raises:
        UsageError: `match` has a name that cannot be a label's.
        WattlensError: no usable response.
    """
    record = EnergyRecord(f"Prometheus {history.access.url}", start_ns, end_ns)
    job = JobCounters(AgentCounters(history, match, start_ns, end_ns), record)
    job.find(address)
    if job.workloads:
        job.read()
    return record


@dataclass
class JobCounters:
    """Reads the counters of one job's workloads into a record."""

    counters: AgentCounters
    record: EnergyRecord
    workloads: set[Owner] = field(default_factory=set)

    def find(self, address: JobAddress) -> None:
        """Find the workloads by their labels."""
        for selection in _selections(address):
            select = self.counters.select("workload_info", selection)
            for series in self.counters.history.series(select, self.record.start_ns, self.record.end_ns):
                workload, (kind, labels) = exporter_label(series, "workload"), self.counters.workload_labels(series)
                if address.matches(workload, kind, labels):
                    owner = (*self.counters.node_of(series), workload)
                    self.workloads.add(owner)
                    self.record.add_labels(owner, 0, kind, json.dumps(labels, separators=(",", ":")))

    def read(self) -> None:
        """Add energy, GPU time, steps and tokens."""
        record, day_ns, life = self.record, day_of(self.record.start_ns), self._add_windows()
        period = [(record.start_ns, record.end_ns)]
        (energy,), (gpu_time,), (tokens,) = (self._grown(of, period) for of in (_OF_WORKLOADS, _GPU_TIME, _TOKENS))
        for key, number in (energy | gpu_time).items():
            numbers = (number, 0) if key.device else (0, number)
            row = (key.cluster, key.node, key.device, key.labels[0], key.labels[1], "", *numbers, 0, 0, 0, 0, 0)
            record.add_day(day_ns, "holder_day", [row])
        for key, count in tokens.items():
            add_tokens(record, key.owner, record.start_ns, key.labels[2], key.labels[1], count)
        nodes = {(key.cluster, key.node) for key in energy}
        scopes = [(of_target(target), *period[0]) for target, node in self.counters.known_nodes.items() if node in nodes]
        edges_uj, gains_ppm = (
            {key.device: value for key, value in self.counters.values(of.items(), scopes).items()} for of in (_EDGE, _GAINS)
        )
        for owner, device in sorted({(key.owner, key.device) for key in energy}):
            cluster, node, workload = owner
            edge_uj, place = edges_uj.get(device, 0), (cluster, node, device)
            run = (*life.get(owner, period[0]), edge_uj, 0, edge_uj)
            whole = (*place, "", 0, 0, 0, 0, 0, 1, 0, 0)
            record.add_day(day_ns, "span_day", [(*place, workload, *run, 0, 0, 0), whole])
            if device in gains_ppm and (device in edges_uj or not is_gpu(device)):  # else there are no bounds
                add_gain(record, place, gains_ppm[device])

    def _add_windows(self) -> dict[Owner, tuple[int, int]]:
        """Add steps and GPU time by windows of the job's life; returns when each workload ran, to a window."""
        coarse = list(_windows(self.record.start_ns, self.record.end_ns))
        used = [window for window, grown in zip(coarse, self._grown(_GPU_TIME, coarse), strict=True) if any(grown.values())]
        if not used:
            return {}
        life: dict[Owner, tuple[int, int]] = {}
        windows = list(_windows(used[0][0], used[-1][1]))
        for (start_ns, end_ns), grown in zip(windows, self._grown({**_GPU_TIME, **_STEPS}, windows), strict=True):
            for key, number in grown.items():
                if not number:
                    continue
                if key.family in _STEPS:
                    where = dict(zip(("cluster", "node", "workload"), key.owner, strict=True))
                    times = {"day_ns": day_of(start_ns), "cell_start_ns": start_ns, "start_ns": start_ns, "end_ns": end_ns}
                    self.record.add_row("steps", **where, **times, phase=key.labels[1], steps=number)
                else:
                    gpu_ns = number * CELL_NS // max(CELL_NS, end_ns - start_ns)
                    self.record.add_day(day_of(start_ns), "workload_cell", [(start_ns, *key.owner, 0, 0, 0, 0, gpu_ns)])
                    life[key.owner] = life.get(key.owner, (start_ns, 0))[0], end_ns
        return life

    def _grown(self, families: Families, windows: Sequence[tuple[int, int]]) -> Iterator[Values]:
        """Growth of counters in each window that follows another; one that is new began at 0."""
        before = self._values(families, windows[0][0] - _ALIVE_NS, windows[0][0])
        for window in windows:
            values = self._values(families, *window)
            yield {key: max(0, value - before.get(key, 0)) for key, value in values.items()}
            before |= {key: max(value, before.get(key, 0)) for key, value in values.items()}

    def _values(self, families: Families, start_ns: int, end_ns: int) -> Values:
        names = sorted({re.escape(workload) for _, _, workload in self.workloads})
        chunks = ("|".join(names[at : at + _NAMES_MAX]) for at in range(0, len(names), _NAMES_MAX))
        scopes = [(f"workload=~{json.dumps(chunk)}", start_ns, end_ns) for chunk in chunks]
        values = self.counters.values(families.items(), scopes)
        return {key: value for key, value in values.items() if key.owner in self.workloads}


def _windows(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    width_ns = max(_LEAST_NS, -(-(end_ns - start_ns) // _WINDOWS_MAX))
    for at_ns in range(start_ns, end_ns, width_ns):
        yield at_ns, min(at_ns + width_ns, end_ns)


def _selections(address: JobAddress) -> Iterator[str]:
    name = json.dumps(re.escape(address.name))[1:-1]
    if address.scheduler == "slurm":
        yield f'workload="slurm-{address.name}"'
        if not address.exact:
            yield f'owner="Job/{address.name}"'
    else:
        yield f'owner=~".+/{name}"'
        yield f'pod="{address.name}"'
        yield f'exported_pod="{address.name}"'
