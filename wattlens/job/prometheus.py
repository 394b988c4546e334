"""The rows of a job from the counters of agents in a Prometheus, by a few queries of the job's own series.

A workload's counters come from the journals of its nodes: they begin at 0 when the workload first holds a GPU, survive restarts
of agents, never fall, and stay for some minutes after its end. So the energy of a job is the sum of the last values over its
workloads and GPUs, whatever nodes they were on: no rate, and no extrapolation. What Prometheus did not scrape before a node was
lost is missing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from energy_agent.core.boundary import host, is_gpu
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.history_import.dcgm import exporter_label
from energy_agent.ledger.rows.kinds import CELL_NS, PPM
from wattlens.job.address import JobAddress
from wattlens.job.record import JobRecord
from wattlens.prometheus.history import Labels, PrometheusHistory, TooMuchError, selector
from wattlens.usage.ledger_rows import Owner

PREFIX: Final = "wattlens_"
_LABELS: Final = ("namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class")
_UJ: Final = 1_000_000
_NAMES_MAX: Final = 50
"""Workloads per query: the length of a query is bounded."""
_WINDOWS_MAX: Final = 192
_ALIVE_NS: Final = 3600 * NS_PER_S
"""How far before a period the last value of a counter is searched."""
_LEAST_NS: Final = 60 * NS_PER_S

Target = tuple[str, str]
"""Instance and job of a scrape."""
Counters = dict[tuple[Owner, tuple[str, ...]], Decimal]
"""Values by workload and further labels."""


@dataclass
class JobSeries:
    """The series of one job within a period. `match` are labels that every series must have."""

    history: PrometheusHistory
    match: Mapping[str, str]
    start_ns: int
    end_ns: int
    workloads: dict[Owner, tuple[str, dict[str, str]]] = field(default_factory=dict)
    _nodes: dict[Target, tuple[str, str]] = field(default_factory=dict)

    def find(self, address: JobAddress) -> None:
        """Find the job's workloads by their labels."""
        for selection in _selections(address):
            for labels in self.history.series(self._select("workload_info", selection), self.start_ns, self.end_ns):
                workload, kind = exporter_label(labels, "workload"), exporter_label(labels, "kind")
                metadata = {name: value for name in _LABELS if (value := exporter_label(labels, name))}
                if address.matches(workload, kind, metadata):
                    self.workloads[(*self._node(labels), workload)] = kind, metadata

    def totals(self, family: str, names: tuple[str, ...], start_ns: int, end_ns: int) -> Counters:
        """The largest value of each counter of the job within (start, end], by workload and the labels `names`.

        Replicas of a Prometheus, and a node that was scraped under several addresses, have one counter each: the larger.
        """
        counters: Counters = {}
        for selection in self._chunks():
            for labels, value in self._largest(self._select(family, selection), start_ns, end_ns):
                owner = (*self._node(labels), exporter_label(labels, "workload"))
                if owner in self.workloads:
                    key = owner, tuple(exporter_label(labels, name) for name in names)
                    counters[key] = max(value, counters.get(key, value))
        return counters

    def grown(self, family: str, names: tuple[str, ...]) -> Counters:
        """What each counter of the job grew by within the period; one that is new began at 0."""
        after = self.totals(family, names, self.start_ns, self.end_ns)
        before = self.totals(family, names, self.start_ns - _ALIVE_NS, self.start_ns)
        return {key: max(Decimal(0), value - before.get(key, 0)) for key, value in after.items()}

    def devices(self, family: str, name: str) -> dict[str, Decimal]:
        """The largest value of a family of the job's nodes by the label `name`; of hosts by the host's name."""
        values: dict[str, Decimal] = {}
        for target, place in self._nodes.items():
            for labels, value in self._largest(self._select_target(family, target), self.start_ns, self.end_ns):
                device = exporter_label(labels, name) if name == "uuid" else host(*place)
                values[device] = max(value, values.get(device, value))
        return values

    def _largest(self, select: str, start_ns: int, end_ns: int) -> Iterator[tuple[Labels, Decimal]]:
        query = f"max_over_time({select}[{max(1, (end_ns - start_ns) // 10**6)}ms])"
        try:
            yield from self.history.instant(query, end_ns)
        except TooMuchError:
            if end_ns - start_ns <= _LEAST_NS:
                raise
            middle_ns = (start_ns + end_ns) // 2
            yield from self._largest(select, start_ns, middle_ns)
            yield from self._largest(select, middle_ns, end_ns)

    def _select(self, family: str, selection: str) -> str:
        return selector(f"{PREFIX}{family}", self.match, further=selection)

    def _select_target(self, family: str, target: Target) -> str:
        return self._select(family, f"instance={json.dumps(target[0])},job={json.dumps(target[1])}")

    def _chunks(self) -> Iterator[str]:
        names = sorted({re.escape(workload) for _, _, workload in self.workloads})
        for at in range(0, len(names), _NAMES_MAX):
            yield f"workload=~{json.dumps('|'.join(names[at : at + _NAMES_MAX]))}"

    def _node(self, labels: Labels) -> tuple[str, str]:
        """Cluster and node of a series, by the target that it was scraped from."""
        target = labels.get("instance", ""), labels.get("job", "")
        if target not in self._nodes:
            infos = self.history.series(self._select_target("node_info", target), self.start_ns, self.end_ns)
            names = sorted({(exporter_label(info, "cluster"), exporter_label(info, "node")) for info in infos})
            self._nodes[target] = names[-1] if names else ("", target[0])
        return self._nodes[target]


def read_record(
    history: PrometheusHistory, address: JobAddress, start_ns: int, end_ns: int, match: Mapping[str, str]
) -> JobRecord:
    """What a Prometheus has of a job within [start_ns, end_ns); without workloads where it has nothing.

    Raises:
        UsageError: `match` has a name that cannot be a label's.
        WattlensError: no usable response.
    """
    record = JobRecord(f"Prometheus {history.access.url}", start_ns, end_ns)
    series = JobSeries(history, match, start_ns, end_ns)
    series.find(address)
    record.workloads |= series.workloads
    if record.workloads:
        _add_energy(record, series)
        _add_counts(record, series)
    return record


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


def _add_energy(record: JobRecord, series: JobSeries) -> None:
    edges_j = series.devices("gpu_energy_edge_uncertainty_joules", "uuid")
    devices: set[tuple[Owner, str]] = set()
    for (owner, (uuid, state, _)), joules in series.grown("workload_energy_joules_total", ("uuid", "state", "method")).items():
        record.add_energy(owner, uuid, state, round(joules * _UJ), 0)
        devices.add((owner, uuid))
    for (owner, (domain, state)), joules in series.grown("workload_nongpu_energy_joules_total", ("domain", "state")).items():
        if domain == "host":
            record.add_energy(owner, host(*owner[:2]), state, round(joules * _UJ), 0)
            devices.add((owner, host(*owner[:2])))
    for (owner, (state,)), seconds in series.grown("workload_gpu_seconds_total", ("state",)).items():
        record.add_gpu_time(owner, state, round(seconds * NS_PER_S))
    life = _add_windows(record, series)
    for owner, device in devices:
        first_ns, last_ns = life.get(owner, (record.start_ns, record.end_ns))
        edge_uj = round(edges_j.get(device, Decimal(0)) * _UJ)
        record.add_span(owner, device, (first_ns, last_ns, edge_uj, 0, edge_uj), 0)
        record.add_metered((*owner[:2], device), 1, 0)
    gains = series.devices("gpu_energy_gain_uncertainty_ratio", "uuid")
    gains |= series.devices("node_nongpu_energy_gain_uncertainty_ratio", "domain")
    known = {device for device in record.device_uj if device in edges_j or not is_gpu(device)}  # else there are no bounds
    record.gain_ppm |= {device: round(ratio * PPM) for device, ratio in gains.items() if device in known}


def _add_windows(record: JobRecord, series: JobSeries) -> dict[Owner, tuple[int, int]]:
    """Add steps and GPU time by windows of the job's life; returns when each workload ran, to a window."""
    coarse = list(_windows(record.start_ns, record.end_ns))
    used = [window for window, held in zip(coarse, _gpu_time(series, coarse), strict=True) if held]
    if not used:
        return {}
    life: dict[Owner, tuple[int, int]] = {}
    windows = list(_windows(used[0][0], used[-1][1]))
    for (start_ns, end_ns), held in zip(windows, _gpu_time(series, windows), strict=True):
        for owner, held_ns in held.items():
            record.add_cell(start_ns, held_ns * CELL_NS // max(CELL_NS, end_ns - start_ns))
            life[owner] = life.get(owner, (start_ns, 0))[0], end_ns
    counts = series.totals("training_steps_total", ("phase",), windows[0][0] - _ALIVE_NS, windows[0][0])
    for start_ns, end_ns in windows:
        for key, steps in series.totals("training_steps_total", ("phase",), start_ns, end_ns).items():
            owner, (phase,) = key
            if done := max(0, int(steps - counts.get(key, Decimal(0)))):
                record.add_steps(owner, phase, start_ns, end_ns, done)
            counts[key] = steps
    return life


def _windows(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    width_ns = max(_LEAST_NS, -(-(end_ns - start_ns) // _WINDOWS_MAX))
    for at_ns in range(start_ns, end_ns, width_ns):
        yield at_ns, min(at_ns + width_ns, end_ns)


def _gpu_time(series: JobSeries, windows: Sequence[tuple[int, int]]) -> Iterator[dict[Owner, int]]:
    """GPU time in ns that each workload was allocated within each window."""
    known = series.totals("workload_gpu_seconds_total", ("state",), windows[0][0] - _ALIVE_NS, windows[0][0])
    for start_ns, end_ns in windows:
        held: dict[Owner, int] = {}
        for key, seconds in series.totals("workload_gpu_seconds_total", ("state",), start_ns, end_ns).items():
            grown_ns = round((seconds - known.get(key, Decimal(0))) * NS_PER_S)
            if grown_ns > 0:
                held[key[0]] = held.get(key[0], 0) + grown_ns
                known[key] = seconds
        yield held


def _add_counts(record: JobRecord, series: JobSeries) -> None:
    for (_, (model, phase)), tokens in series.grown("tokens_total", ("model", "phase")).items():
        record.add_tokens(phase, model, int(tokens))
