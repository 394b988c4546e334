"""Write a snapshot as Prometheus text format 0.0.4 or OpenMetrics 1.0. Pure.

prometheus-client is several times slower than a scrape may take (docs/decisions/0002). Guarantees: joules are exact decimals of
the ledger's integers; a missing value has no series; there is no NaN, infinity or timestamp; untrusted label values (such
as file names and pod labels) cannot break the response.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from functools import lru_cache

from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.node import CATALOGUE, FACTS, POD
from energy_agent.core.catalogue.selection import Selection
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal
from energy_agent.core.workloads.job_identity import run_of
from energy_agent.exposition import dvfs, gpu, host, inference, process
from energy_agent.exposition.gpu import Sample
from energy_agent.exposition.health import HealthSamples
from energy_agent.exposition.host import NO_POD

_health_samples = HealthSamples()
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_WEIGHT = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)")


class Format(Enum):
    """The formats of the page; the value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> Format:
    """The format for an Accept header: OpenMetrics where the client wants it at least as much as plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in weights and not (kind != "text/plain" and "version=0" in part):
            weight = _WEIGHT.search(part)
            weights[kind] = max(weights[kind], float(weight[1]) if weight else 1.0)
    wanted = weights["application/openmetrics-text"]
    return Format.OPENMETRICS if wanted > 0 and wanted >= weights["text/plain"] else Format.TEXT


def render(snapshot: Snapshot, fmt: Format) -> bytes:
    """The page: families in the catalogue's order, series in the snapshot's; a family without series is absent."""
    return page(selected_families(snapshot), fmt, snapshot.selection)


def selected_families(snapshot: Snapshot) -> dict[str, list[Sample]]:
    """Samples as `families` returns them, without those of GPUs that are not to be shown."""
    selection = snapshot.selection
    return families(_selected(snapshot) if selection.include_gpus or selection.exclude_gpus else snapshot)


def page(by_family: Mapping[str, list[Sample]], fmt: Format, selection: Selection) -> bytes:
    """The page of samples by the names of their signals."""
    texts = [family.text(samples) for family in _families(fmt, selection) if (samples := by_family.get(family.name))]
    if fmt is Format.OPENMETRICS:
        texts.append("# EOF\n")
    return "".join(texts).encode()


@lru_cache
def _families(fmt: Format, selection: Selection) -> tuple["_Family", ...]:
    return tuple(_Family(signal, fmt) for signal in CATALOGUE if selection.shows_family(signal.name))


def _selected(snapshot: Snapshot) -> Snapshot:
    """The snapshot without the GPUs that are not to be shown. What is of a node or a workload stays as it is."""
    hidden = {v.info.uuid for v in snapshot.devices if not snapshot.selection.shows_gpu(v.info.uuid, v.info.index)}
    return replace(
        snapshot,
        devices=tuple(view for view in snapshot.devices if view.info.uuid not in hidden),
        workloads=tuple(entry for entry in snapshot.workloads if entry.device not in hidden),
        dvfs=tuple(governed for governed in snapshot.dvfs if governed.device not in hidden),
        health=tuple(source for source in snapshot.health if source.device not in hidden),
    )


class _Family:
    """A family of the page. Its series stay the same from one snapshot to the next, nearly always: so what stands around the
    values is written once, and the values are put in.
    """

    def __init__(self, signal: Signal, fmt: Format) -> None:
        self.name = signal.name
        self._signal = signal
        self._header = _header(signal, fmt).replace("%", "%%")
        self._written: tuple[tuple[tuple[str, ...], ...], str] = ((), "")
        self._last: tuple[list[Sample], str] = ([], "")

    def text(self, samples: list[Sample]) -> str:
        """Header and lines of at least one sample."""
        last = self._last
        if samples is last[0] or samples == last[0]:
            return last[1]
        series, values = zip(*samples, strict=True)
        written = self._written
        if written[0] != series:
            written = self._written = (series, self._header + "".join(self._line(labels) for labels in series))
        text = written[1] % values
        self._last = samples, text
        return text

    def _line(self, labels: tuple[str, ...]) -> str:
        names, metric = self._signal.labels, self._signal.metric
        if self._signal.kind == "histogram":
            names, metric, labels = (*names, "le"), metric + labels[-2], (*labels[:-2], labels[-1])
        labelled = zip(names, labels, strict=True)
        pairs = ",".join(f'{label}="{_escape(value)}"' for label, value in labelled if value)
        prefix = f"{metric}{{{pairs}}}" if pairs else metric
        return prefix.replace("%", "%%") + " %s\n"


def _header(signal: Signal, fmt: Format) -> str:
    """HELP, TYPE and UNIT.

    OpenTelemetry removes the suffix of an info family and appends a unit with `per` a second time. So facts are gauges in both
    formats, as in Prometheus's own exporters, and such a unit is in the name alone.
    """
    family, text = signal.metric, signal.help.replace("\\", r"\\").replace("\n", r"\n")
    kind = "gauge" if signal.kind == "info" else signal.kind
    unit = ""
    if fmt is Format.OPENMETRICS:
        text = text.replace('"', r"\"")
        family = family.removesuffix("_total" if kind == "counter" else "")
        if signal.unit and family.endswith(f"_{signal.unit}") and "_per_" not in signal.unit:
            unit = f"# UNIT {family} {signal.unit}\n"
    return f"# HELP {family} {text}\n# TYPE {family} {kind}\n{unit}"


def printable(value: str) -> str:
    """A label value with controls and lone surrogates, which a peer may refuse, as visible text."""
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", value)


def _escape(value: str) -> str:
    """A label value as both formats write it."""
    value = printable(value)
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def families(snapshot: Snapshot) -> dict[str, list[Sample]]:
    """Samples of each family by the name of its signal, in no format yet."""
    by_family: dict[str, list[Sample]] = defaultdict(list)

    def put(name: str, value: str | None, *labels: str) -> None:
        if value is not None:
            by_family[name].append((labels, value))

    identity = snapshot.identity
    put("build_info", "1", identity.version)
    put("node_info", "1", identity.cluster, identity.node, "true" if identity.simulated else "false")
    index = {view.info.uuid: str(view.info.index) for view in snapshot.devices}
    present = {view.info.uuid for view in snapshot.devices if view.up and view.sample is not None}
    for view in snapshot.devices:
        gpu.put(view, identity.simulated, by_family)
    _health_samples.put(snapshot.device_health, {uuid: index[uuid] for uuid in present}, by_family)
    for governed in snapshot.dvfs:
        if governed.device in present:
            for name, labels, value in dvfs.samples(governed):
                put(name, value, index[governed.device], governed.device, *labels)
    for name, labels, value in dvfs.group_samples(snapshot.dvfs):
        put(name, value, *labels)
    latest = {facts.workload: facts for facts in sorted(snapshot.facts, key=lambda facts: facts.since_ns)}
    pods = {name: tuple(facts.labels.get(label, "") for label in POD) for name, facts in latest.items()}
    host.put(snapshot, pods, by_family)
    inference.put_servers(snapshot, by_family)
    inference.put_energy(snapshot, by_family)
    inference.put_prices(snapshot, by_family)
    _workloads(snapshot, present, latest, pods, by_family)
    put("reader_restarts_total", str(snapshot.reader_restarts_total))
    process.put(snapshot, by_family)
    return by_family


def _workloads(
    snapshot: Snapshot,
    present: set[str],
    latest: Mapping[str, WorkloadFacts],
    pods: Mapping[str, tuple[str, ...]],
    families: dict[str, list[Sample]],
) -> None:
    families["workload_info"] = [
        ((name, facts.kind, *(facts.labels.get(label, "") for label in FACTS[1:-1]), run_of(facts.kind, facts.labels)), "1")
        for name, facts in latest.items()
    ]
    families["workload_energy_joules_total"] = [
        (
            (entry.workload, *pods.get(entry.workload, NO_POD), entry.device, entry.state, entry.method),
            decimal(entry.energy_uj, UJ_PER_J),
        )
        for entry in snapshot.workloads
        if entry.device in present
    ]
    families["workload_gpu_seconds_total"] = [
        ((name, *pods.get(name, NO_POD), state), decimal(held_ns, NS_PER_S))
        for (name, state), held_ns in snapshot.workload_gpu_ns.items()
    ]
    families["namespace_energy_joules_total"] = [
        ((name,), decimal(energy_uj, UJ_PER_J)) for name, energy_uj in snapshot.namespace_uj.items()
    ]
    families["owner_energy_joules_total"] = [
        (owner, decimal(energy_uj, UJ_PER_J)) for owner, energy_uj in snapshot.owner_uj.items()
    ]
    families["tokens_total"] = [((t.workload, t.model, t.phase), str(t.tokens)) for t in snapshot.tokens]
    families["training_steps_total"] = [((s.workload, s.phase), str(s.steps)) for s in snapshot.steps]
