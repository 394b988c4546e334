"""Make OpenTelemetry metrics of the samples that /metrics shows. Pure.

What is missing has no point, as on the page. Counters are cumulative without a start time, because they count since before the
process began: receivers take the first point as the reference. As deltas, a counter's first point is the reference too and is
not sent, and what a failed export had is in the next.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from energy_agent.core.catalogue.metric import Sample, Signal
from energy_agent.core.catalogue.node import CATALOGUE
from energy_agent.core.catalogue.opentelemetry import Instrument, Kind, instrument
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition.openmetrics import FamilySamples, printable

Point = NumberDataPoint | HistogramDataPoint
P = TypeVar("P", NumberDataPoint, HistogramDataPoint)
_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
_UNKNOWN_NS = 0
"""Start time of a cumulative point that counts since before anybody looked."""
_NO_EXTREMES: tuple[Any, Any] = (None, None)
"""Lowest and highest value of a histogram: optional in the protocol, and unknown here."""
_INSTRUMENTS = tuple((signal, instrument(signal)) for signal in CATALOGUE)


Series = tuple[str, frozenset[tuple[str, object]]]
"""Name of a metric and attributes of a series."""
_FORGOTTEN_NS = 3600 * NS_PER_S


def metrics(by_family: FamilySamples, t_ns: int, resource: Resource, scope: str) -> MetricsData:
    """Cumulative metrics of samples by the names of their signals, at `t_ns` (UTC).

    Args:
        by_family: samples by the name of their signal.
        t_ns: UTC ns of all points.
        resource: who sends them.
        scope: version of Wattlens.
    """
    points: dict[str, list[Point]] = {}
    instruments: dict[str, Instrument] = {}
    for signal, named in _INSTRUMENTS:
        if samples := by_family.get(signal.name):
            make = _histograms if named.kind == "histogram" else _numbers
            points.setdefault(named.name, []).extend(make(signal, named, samples, t_ns))
            instruments.setdefault(named.name, named)
    metric_list = [Metric(n.name, n.help, n.unit, _data(n.kind, points[n.name])) for n in instruments.values()]
    return MetricsData(
        [ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope("wattlens", scope), metric_list, "")], "")]
    )


def deltas(data: MetricsData, before: Mapping[Series, Point]) -> tuple[MetricsData, dict[Series, Point]]:
    """The counters and histograms as changes since `before`, and what to give as `before` once these were sent.

    A series that is not in `before` sends nothing yet. One that is absent for less than an hour goes on from its last point.
    """
    (of,) = data.resource_metrics
    (scoped,) = of.scope_metrics
    after: dict[Series, Point] = dict(before)
    changed_metrics = []
    for metric in scoped.metrics:
        changed = metric.data
        if isinstance(changed, Histogram):
            points = _changes(metric.name, changed.data_points, _histogram, after)
            changed = replace(changed, data_points=points, aggregation_temporality=_DELTA)
        elif isinstance(changed, Sum) and changed.is_monotonic:
            numbers = _changes(metric.name, changed.data_points, _number, after)
            changed = replace(changed, data_points=numbers, aggregation_temporality=_DELTA)
        if changed.data_points:
            changed_metrics.append(replace(metric, data=changed))
    newest_ns = max((point.time_unix_nano for point in after.values()), default=0)
    kept = {series: point for series, point in after.items() if newest_ns - point.time_unix_nano < _FORGOTTEN_NS}
    return replace(data, resource_metrics=[replace(of, scope_metrics=[replace(scoped, metrics=changed_metrics)])]), kept


def _changes(name: str, points: Iterable[P], change: Callable[[P, P], P], after: dict[Series, Any]) -> list[P]:
    """What each series added since its point in `after`, where the new point takes its place."""
    changes = []
    for point in points:
        series = name, frozenset((point.attributes or {}).items())
        last, after[series] = after.get(series), point
        if last is not None:
            changes.append(change(last, point))
    return changes


def _number(last: NumberDataPoint, point: NumberDataPoint) -> NumberDataPoint:
    """All of it where the counter began again."""
    value = point.value - last.value if point.value >= last.value else point.value
    return replace(point, start_time_unix_nano=last.time_unix_nano, value=value)


def _histogram(last: HistogramDataPoint, point: HistogramDataPoint) -> HistogramDataPoint:
    if last.explicit_bounds != point.explicit_bounds or last.count > point.count:
        return replace(point, start_time_unix_nano=last.time_unix_nano)
    return replace(
        point,
        start_time_unix_nano=last.time_unix_nano,
        count=point.count - last.count,
        sum=point.sum - last.sum,
        bucket_counts=[now - then for now, then in zip(point.bucket_counts, last.bucket_counts, strict=True)],
    )


def _numbers(signal: Signal, named: Instrument, samples: Iterable[Sample], t_ns: int) -> Iterator[NumberDataPoint]:
    for labels, text in samples:
        value = int(text) if text.isdecimal() and not signal.unit else float(text)
        yield NumberDataPoint(_attributes(signal, named, labels), _UNKNOWN_NS, t_ns, value)


def _histograms(signal: Signal, named: Instrument, samples: Iterable[Sample], t_ns: int) -> Iterator[HistogramDataPoint]:
    """Histograms of a page: samples end in their suffix and edge, and buckets count all that is below their edge."""
    series: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    for labels, text in samples:
        series.setdefault(labels[:-2], {})[labels[-2], labels[-1]] = float(text)
    for labels, parts in series.items():
        buckets = sorted((float(edge), int(count)) for (suffix, edge), count in parts.items() if suffix == "_bucket")
        below = [0, *(count for _, count in buckets)]
        yield HistogramDataPoint(
            _attributes(signal, named, labels),
            _UNKNOWN_NS,
            t_ns,
            int(parts["_count", ""]),
            parts["_sum", ""],
            [count - before for before, count in pairwise(below)],
            [edge for edge, _ in buckets[:-1]],
            *_NO_EXTREMES,
        )


def _attributes(signal: Signal, named: Instrument, labels: tuple[str, ...]) -> dict[str, str]:
    return named.attributes({name: printable(value) for name, value in zip(signal.labels, labels, strict=True)})


def _data(kind: Kind, points: Iterable[Point]) -> Sum | Gauge | Histogram:
    if kind == "histogram":
        return Histogram([point for point in points if isinstance(point, HistogramDataPoint)], _CUMULATIVE)
    numbers = [point for point in points if isinstance(point, NumberDataPoint)]
    return Gauge(numbers) if kind == "gauge" else Sum(numbers, _CUMULATIVE, is_monotonic=kind == "counter")
