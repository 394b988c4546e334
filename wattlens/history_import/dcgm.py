"""The history of GPUs that dcgm-exporter monitored."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from energy_agent.core.energy import Entry, Gap, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.history_import import dcgm
from energy_agent.ledger.history_import.gpu import Account, CounterAccount, PowerAccount
from energy_agent.ledger.history_import.samples import ExporterBounds, ExporterReading, joined, pick
from energy_agent.ledger.history_import.segments import mark
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import PPM, DeviceFacts
from wattlens.history_import.request import ORIGIN, ImportRequest, identity, node_name
from wattlens.prometheus.history import PrometheusHistory, number, selector

AGE_NS = 30 * NS_PER_S
"""dcgm-exporter queries DCGM every 30 s by default."""
CLUSTER = "imported"
METRICS = (dcgm.ENERGY, dcgm.POWER)
_DAY_NS = 86_400 * NS_PER_S
_HEADROOM = (6, 5)  # transients pass the limit by a fifth, as the agent takes it
Matchers = dict[str, str]


class DcgmFleet:
    """Nodes by the first of the labels that names one."""

    def __init__(self, request: ImportRequest, history: PrometheusHistory) -> None:
        self._request, self._history = request, history
        self._selectors: dict[str, list[Matchers]] = {}

    def nodes(self) -> list[str]:
        """Their names."""
        labels = (self._request.node_label,) if self._request.node_label else dcgm.NODE_LABELS
        reach = self._request.reach
        for place, label in enumerate(labels):
            if any(self._request.match.get(earlier) for earlier in labels[:place]):
                break  # every series has that one
            above: Matchers = dict(self._request.match) | dict.fromkeys(labels[:place], "")
            for name in METRICS:
                for value in filter(None, self._history.label_values(label, selector(name, above), *reach)):
                    mine = self._selectors.setdefault(node_name(value), [])
                    if above | {label: value} not in mine:
                        mine.append(above | {label: value})
        if self._request.node_label:
            bare = dict(self._request.match) | {self._request.node_label: ""}
            lost = self._history.label_values("UUID", selector(dcgm.ENERGY, bare), *reach)
            if lost:
                raise WattlensError(
                    f"{len(lost)} GPUs, such as {lost[0]}, have no label {self._request.node_label}: choose a label that "
                    "all GPUs have"
                )
        return sorted(self._selectors)

    def open(self, node: str) -> "DcgmNode":
        """One node."""
        return DcgmNode(self._request, self._history, node, self._selectors[node])


@dataclass
class DcgmNode:
    """One node's boards."""

    request: ImportRequest
    history: PrometheusHistory
    node: str
    selectors: list[Matchers]
    event_counts: Counter[str] = field(default_factory=Counter)
    _accounts: dict[str, Account] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)
    _exporter_pods: dict[tuple[str, str], set[dcgm.Pod]] = field(default_factory=dict)
    _models: dict[str, str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)
    _overlaps: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.identity = identity(self.request.cluster or CLUSTER, self.node)
        self._counted = self._boards(dcgm.ENERGY)
        self._power_alone = self._boards(dcgm.POWER) - self._counted
        self._limits = self._told_limits()

    def _boards(self, name: str) -> set[str]:
        reach = self.request.reach
        return {b for m in self.selectors for b in self.history.label_values("UUID", selector(name, m), *reach)}

    def _told_limits(self) -> dict[str, int]:
        """Return power limits by GPU, in mW: the maximum of a limit series. The GPU's own limit precedes a configured one."""
        limits_mw: dict[str, int] = {}
        first, last = self.request.reach
        for name in dcgm.LIMITS:
            for matchers in self.selectors:
                if not self.history.label_values("UUID", selector(name, matchers), first, last):
                    continue
                limits: dict[str, int] = {}
                for at in range(first, last, _DAY_NS):
                    span_s = (min(at + _DAY_NS, last) - at) // NS_PER_S
                    query = f"max by (UUID) (max_over_time({selector(name, matchers)}[{span_s}s]))"
                    for labels, watts in self.history.instant(query, min(at + _DAY_NS, last)):
                        device = dcgm.board_of(labels)
                        limits[device] = max(limits.get(device, 0), round(watts * 1_000))
                limits_mw = limits | limits_mw
        return limits_mw

    def _terms(self, device: str) -> ExporterBounds:
        limit_mw = self._limits.get(device) or self.request.power_max_mw or _kind_mw(self._models.get(device, ""))
        age_ns = self.request.age_ns if self.request.age_ns is not None else AGE_NS
        if limit_mw is None:
            self.event_counts["GPUs without a known maximum power, so their gaps have no bound (--max-power-w)"] += 1
            return ExporterBounds(None, age_ns)
        return ExporterBounds(limit_mw * _HEADROOM[0] // _HEADROOM[1], age_ns)

    def slice(self, start_ns: int, end_ns: int) -> Batch:
        """Return the entries to record for a slice."""
        streams: dict[str, dict[str, list[ExporterReading]]] = {}
        self._collect(dcgm.ENERGY, start_ns, end_ns, self._counted, streams)
        if self._power_alone:
            self._collect(dcgm.POWER, start_ns, end_ns, self._power_alone, streams)
        for device in sorted(streams):
            account = self._accounts.get(device)
            if account is None:
                kind = CounterAccount if device in self._counted else PowerAccount
                account = self._accounts[device] = kind(device, self._terms(device))
            readings, self._sources[device], skipped_sources = pick(streams[device], self._sources.get(device, ""))
            account.take(readings)
            if skipped_sources and device not in self._overlaps:
                self._overlaps.add(device)
                self.event_counts["GPUs with several series at the same time; one series was used per quarter of an hour"] += 1
        return self._batch(start_ns)

    def end(self) -> Batch:
        """What the last slice left open."""
        for account in self._accounts.values():
            account.end()
        batch = self._batch(self.request.start_ns)
        for account in self._accounts.values():
            self.event_counts.update(account.event_counts)
        return batch

    def _collect(
        self, name: str, start_ns: int, end_ns: int, devices: set[str], streams: dict[str, dict[str, list[ExporterReading]]]
    ) -> None:
        """Add the readings of these boards."""
        for matchers in self.selectors:
            series = [s for s in self.history.samples(name, matchers, start_ns, end_ns) if dcgm.board_of(s.labels) in devices]
            exporter_pods: set[dcgm.Pod] = set()
            for each in series:
                exporter_pods |= self._own_pods(each.labels)
                model = dcgm.exporter_label(each.labels, "modelName")
                if model:
                    self._models.setdefault(dcgm.board_of(each.labels), model)
            exact = [(s.labels, [(t, v) for t, text in s.samples if (v := number(text)) is not None]) for s in series]
            for board, by_source in dcgm.readings(exact, dcgm.SCALES[name], exporter_pods, self.request.dedup_label).items():
                mine = streams.setdefault(board, {})
                for source, readings in by_source.items():
                    mine[source] = sorted([*mine.get(source, []), *readings], key=lambda r: r.t_ns)

    def _own_pods(self, labels: Mapping[str, str]) -> set[dcgm.Pod]:
        key = (labels.get("instance", ""), labels.get("job", ""))
        if key not in self._exporter_pods:
            up = selector("up", {"instance": key[0], "job": key[1]})
            self._exporter_pods[key] = dcgm.own_pods(self.history.series(up, *self.request.reach))
        return self._exporter_pods[key]

    def _batch(self, since_ns: int) -> Batch:
        entries, gaps = list[Entry](), list[Gap]()
        for account in self._accounts.values():
            entries += joined(account.entries)
            gaps += account.gaps
            account.entries, account.gaps = [], []
        devices, facts = list[DeviceFacts](), list[WorkloadFacts]()
        for device in {e.device for e in entries} | {g.device for g in gaps}:
            if device not in self._named:
                self._named.add(device)
                sku = self._models.get(device, "unknown")
                devices.append(DeviceFacts(device, sku, self.request.gain_ppm / PPM, since_ns))
                facts.append(mark(device, since_ns, ORIGIN, counter=dcgm.ENERGY if device in self._counted else dcgm.POWER))
        for workload in {e.workload for e in entries if e.workload} - self._named:
            self._named.add(workload)
            facts.append(dcgm.facts_of(workload, since_ns))
        return Batch(entries, gaps, facts=facts, devices=devices)


def _kind_mw(model: str) -> int | None:
    """The power limit of a known kind of board."""
    from energy_agent.sim.gpu.boards import boards

    watts = next((model_of_gpu.values["limit_max_w"] for model_of_gpu in boards().values() if model_of_gpu.name == model), None)
    return None if watts is None else int(Decimal(str(watts)) * 1_000)
