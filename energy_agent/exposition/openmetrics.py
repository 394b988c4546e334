"""Write a snapshot as Prometheus text format 0.0.4 or OpenMetrics 1.0. Pure.

prometheus-client is several times slower than a scrape may take (docs/decisions/0002). Guarantees: joules are exact decimals of
the ledger's integers; a missing value has no series; there is no NaN, infinity or timestamp; untrusted label values (such
as file names and pod labels) cannot break the response.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

from energy_agent.core.catalogue.gpu import present_ids
from energy_agent.core.catalogue.metric import Row, Sample, Scrape, Signal
from energy_agent.core.catalogue.node import AGENT, CATALOGUE
from energy_agent.core.selection import Selection
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.health import HealthSamples

FamilySamples = Mapping[str, list[Sample]]
"""Samples by the name of their signal."""


class ShownSignals:
    """The signals that a selection shows, by the rows that they read."""

    def __init__(self, signals: Iterable[Signal], selection: Selection) -> None:
        selected = [signal for signal in signals if selection.shows_family(signal.name)]
        self.names = {signal.name for signal in selected}
        self.readers: dict[Callable[[Scrape[Any]], list[Row]], list[tuple[str, Callable[[list[Row]], list[Sample]]]]] = {}
        for signal in selected:
            self.readers.setdefault(signal.source.rows, []).append((signal.name, signal.read))


_readers = lru_cache(partial(ShownSignals, AGENT))


_health_samples = HealthSamples()
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_WEIGHT = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)")


class Format(Enum):
    """The formats of the page; the value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@lru_cache(16)
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
    return page(families(snapshot), fmt)


def families(snapshot: Snapshot) -> FamilySamples:
    """Samples of each family that is selected, by the name of its signal; of GPUs that are selected."""
    selection = snapshot.selection
    scrape = Scrape(_selected(snapshot) if selection.include_gpus or selection.exclude_gpus else snapshot)
    health = _health_samples.families(snapshot.device_health, scrape.of(present_ids))
    return collect(scrape, _readers(selection), health)


def collect(
    scrape: Scrape[Any], selected: ShownSignals, more: Mapping[str, list[Sample]] = MappingProxyType({})
) -> FamilySamples:
    """Samples of the signals that have any; `more`: cached ones, which come after those of the snapshot."""
    by_family = {name: samples for name, samples in more.items() if name in selected.names}
    for find, readers in selected.readers.items():
        if rows := scrape.of(find):
            for name, read in readers:
                if samples := read(rows):
                    by_family[name] = samples + by_family[name] if name in by_family else samples
    return by_family


def page(by_family: FamilySamples, fmt: Format) -> bytes:
    """The page of samples by the names of their signals."""
    texts = [family.text(by_family[name]) for name, family in _families(fmt) if name in by_family]
    if fmt is Format.OPENMETRICS:
        texts.append("# EOF\n")
    return "".join(texts).encode()


@lru_cache
def _families(fmt: Format) -> list[tuple[str, "_Family"]]:
    return [(signal.name, _Family(signal, fmt)) for signal in CATALOGUE]


def _selected(snapshot: Snapshot) -> Snapshot:
    """The snapshot without the GPUs that are not selected. What is of a node or a workload stays as it is."""
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
