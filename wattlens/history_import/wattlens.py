"""The past of nodes whose Wattlens agents a Prometheus scraped."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.boundary import host, is_gpu, part
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_MS, NS_PER_S
from energy_agent.ledger.history_import.dcgm import exporter_label, own_pods, source_of
from energy_agent.ledger.history_import.samples import ExporterReading, pick
from energy_agent.ledger.history_import.segments import mark
from energy_agent.ledger.history_import.wattlens import PREFIX, SCALE, TOTALS, AgentScrape, AgentScrapeAccount, Key, key_of
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import PPM, DeviceFacts
from wattlens.history_import.request import ImportRequest, NodeHistory, identity, node_name
from wattlens.prometheus.history import Labels, PrometheusHistory, number, selector

AGE_NS: Final = 2_500 * NS_PER_MS
"""A page shows the last second's commit, and a scrape may take a second or more."""
INFO: Final = f"{PREFIX}node_info"
_FACTS: Final = ("kind", "namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class")
_GAINS: Final = ("gpu_energy_gain_uncertainty_ratio", "node_nongpu_energy_gain_uncertainty_ratio")
_HEADROOM: Final = (6, 5)  # transients pass the limit by a fifth, as the agent takes it
_JOULES: Final = 1_000_000
Target = tuple[str, str]
"""Instance and job."""


class WattlensFleet:
    """Nodes as their agents name themselves."""

    METRICS = (INFO,)

    def __init__(self, request: ImportRequest, history: PrometheusHistory) -> None:
        self._request, self._history = request, history
        self._info: dict[str, list[Labels]] = {}

    def nodes(self) -> list[str]:
        """Their names."""
        match, reach = dict(self._request.match), self._request.reach
        if self._request.node_label is not None:
            raise UsageError("--node-label: expected together with --source dcgm, because Wattlens series have the node's name")
        for label, other in (("exported_node", {}), ("node", {"exported_node": ""})):
            for node in self._history.label_values(label, selector(INFO, match | other), *reach):
                if node:
                    series = self._history.series(selector(INFO, match | other | {label: node}), *reach)
                    self._info.setdefault(node, []).extend(series)
        return sorted(self._info)

    def open(self, node: str) -> NodeHistory:
        """One node."""
        return WattlensNode(self._request, self._history, node, self._info[node])


@dataclass
class WattlensNode:
    """One node's pages. `info` are the label sets of its `wattlens_node_info`."""

    request: ImportRequest
    history: PrometheusHistory
    node: str
    info: list[Labels]
    seen: Counter[str] = field(default_factory=Counter)
    _source: str = ""
    _gains: dict[str, DeviceFacts] = field(default_factory=dict)
    _skus: dict[str, str] = field(default_factory=dict)
    _facts: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    _marked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        clusters = sorted({exporter_label(labels, "cluster") for labels in self.info})
        simulated = sorted({exporter_label(labels, "simulated") for labels in self.info})
        if len(clusters) > 1 or len(simulated) > 1:
            differ = "clusters" if len(clusters) > 1 else "kinds (simulated and real)"
            raise UsageError(
                f"node {self.node}: has series of two {differ}: {', '.join(clusters)}; select one with --match LABEL=VALUE"
            )
        self._cluster = clusters[0] or "default"
        cluster = self.request.cluster or node_name(f"{self._cluster[:50]}-imported")
        self.identity = identity("wattlens", cluster, node_name(self.node), simulated=simulated[0] == "true")
        age_ns = self.request.age_ns if self.request.age_ns is not None else AGE_NS
        self._account = AgentScrapeAccount(age_ns)
        self._targets = sorted({(labels.get("instance", ""), labels.get("job", "")) for labels in self.info})

    def slice(self, start_ns: int, end_ns: int) -> Batch:
        """Return the entries to record for a slice."""
        devices, facts = self._collect_facts(start_ns, end_ns)
        pages = self._pages(start_ns, end_ns)
        streams: dict[str, list[ExporterReading]] = {}
        for source, t_ns in sorted(pages):
            streams.setdefault(source, []).append(ExporterReading(t_ns, 0, source=source))
        chosen, self._source, left = pick(streams, self._source)
        if left:
            self.seen["slices with several series of one metrics endpoint; one series was used per quarter of an hour"] += 1
        for reading in chosen:
            self._account.take(AgentScrape(reading.t_ns, pages[reading.source, reading.t_ns], reading.source))
        return self._batch(start_ns, devices, facts)

    def end(self) -> Batch:
        """Return an empty batch: each scrape is recorded immediately, so nothing is pending."""
        self.seen.update(self._account.seen)
        if self._account.unexplained_uj >= _JOULES:
            joules = self._account.unexplained_uj // _JOULES
            self.seen["J of difference between totals and parts of a scrape, recorded as unattributed or subtracted"] += joules
        return Batch()

    def _pages(self, start_ns: int, end_ns: int) -> dict[tuple[str, int], dict[Key, int]]:
        """Numbers by source and time, of those pages that say that they are this node's."""
        names = [*(PREFIX + family for family in TOTALS), INFO]
        scrapes: dict[tuple[str, int], dict[Key, int]] = {}
        mine: set[tuple[str, int]] = set()
        for instance, job in self._targets:
            match = dict(self.request.match) | {"instance": instance, "job": job}
            for series in self.history.samples(names, match, start_ns, end_ns):
                labels = series.labels
                family, source = labels.get("__name__", ""), source_of(labels, self.request.dedup_label)
                if family == INFO:
                    if exporter_label(labels, "node") == self.node:
                        mine.update((source, t_ns) for t_ns, _ in series.samples)
                    continue
                key = key_of(family, labels, self.identity.cluster, self.identity.node)
                if key is None:
                    continue
                scale = SCALE.get(key[0], _JOULES)
                for t_ns, text in series.samples:
                    value = number(text)
                    if value is not None and value >= 0:
                        scrapes.setdefault((source, t_ns), {})[key] = round(value * scale)
        return {at: values for at, values in scrapes.items() if at in mine}

    def _collect_facts(self, start_ns: int, end_ns: int) -> tuple[list[DeviceFacts], list[WorkloadFacts]]:
        """Collect new labels of devices and workloads in a slice."""
        for labels in self._last("gpu_info", start_ns, end_ns):
            self._skus[exporter_label(labels, "uuid")] = exporter_label(labels, "name")
        for labels, watts in self._values("gpu_power_limit_max_watts", start_ns, end_ns):
            limit_mw = round(watts * 1_000) * _HEADROOM[0] // _HEADROOM[1]
            uuid = exporter_label(labels, "uuid")
            self._account.power_max_mw[uuid] = max(limit_mw, self._account.power_max_mw.get(uuid, 0))
        devices = []
        for family in _GAINS:
            for labels, ratio in self._values(family, start_ns, end_ns):
                device = exporter_label(labels, "uuid") or self._host(exporter_label(labels, "domain"))
                fact = DeviceFacts(device, self._skus.get(device, "host"), ratio, start_ns)
                known = self._gains.get(device)
                if 0 <= ratio < 1 and (known is None or (known.sku, known.gain_ppm) != (fact.sku, fact.gain_ppm)):
                    self._gains[device] = fact
                    devices.append(fact)
        facts = []
        own = self._own_pods(start_ns, end_ns)
        for labels in self._last("workload_info", start_ns, end_ns):
            workload = exporter_label(labels, "workload")
            told_facts = {name: value for name in _FACTS if (value := exporter_label(labels, name))}
            if "exported_pod" not in labels and (told_facts.get("namespace", ""), told_facts.get("pod", "")) in own:
                told_facts = {name: value for name, value in told_facts.items() if name not in ("namespace", "pod")}
            kind = told_facts.pop("kind", "process")
            if workload and self._facts.get(workload) != (kind, told_facts):
                self._facts[workload] = (kind, told_facts)
                facts.append(WorkloadFacts(workload, start_ns, kind, told_facts))
        return devices, facts

    def _host(self, domain: str) -> str:
        device = host(self.identity.cluster, self.identity.node)
        return device if domain == "host" else part(device, domain)

    def _own_pods(self, start_ns: int, end_ns: int) -> set[tuple[str, str]]:
        pods: set[tuple[str, str]] = set()
        for instance, job in self._targets:
            pods |= own_pods(self.history.series(selector("up", {"instance": instance, "job": job}), start_ns, end_ns))
        return pods

    def _last(self, family: str, start_ns: int, end_ns: int) -> list[Labels]:
        return [labels for labels, _ in self._values(family, start_ns, end_ns)]

    def _values(
        self, family: str, start_ns: int, end_ns: int, more: Mapping[str, str] | None = None
    ) -> list[tuple[Labels, float]]:
        """The last value of each series in a slice."""
        values: list[tuple[Labels, float]] = []
        for instance, job in self._targets:
            match = dict(self.request.match) | {"instance": instance, "job": job} | dict(more or {})
            query = f"last_over_time({selector(PREFIX + family, match)}[{(end_ns - start_ns) // NS_PER_S}s])"
            values += [(labels, float(value)) for labels, value in self.history.instant(query, end_ns)]
        return values

    def _batch(self, start_ns: int, devices: list[DeviceFacts], facts: list[WorkloadFacts]) -> Batch:
        account = self._account
        batch = Batch(account.entries, account.gaps, account.tokens, facts=facts, devices=devices, steps=account.steps)
        account.entries, account.gaps, account.tokens, account.steps = [], [], [], []
        for device in sorted({e.device for e in batch.entries} | {g.device for g in batch.gaps}):
            if device not in self._gains:
                sku = self._skus.get(device, "unknown") if is_gpu(device) else "host"
                self._gains[device] = fact = DeviceFacts(device, sku, self.request.gain_ppm / PPM, start_ns)
                devices.append(fact)
                self.seen["devices without a series of their gain uncertainty, so --gain-uncertainty applies"] += 1
            if device not in self._marked:
                self._marked.add(device)
                facts.append(mark(device, start_ns, "wattlens", agent=f"{self._cluster}/{self.node}"))
        return batch
