"""Points: each sample of the page once, deltas that add up whatever fails in between, and text that UTF-8 can carry."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, MetricsData, NumberDataPoint
from opentelemetry.sdk.resources import Resource

from energy_agent.core.catalogue.metric import Sample
from energy_agent.core.selection import Selection
from energy_agent.exposition.openmetrics import families
from energy_agent.otlp.points import Point, Series, deltas, metrics
from tests.snapshots import Player

HISTOGRAM = "time_to_first_token_seconds"


def metrics_of(by_family: Mapping[str, list[Sample]], t_ns: int = 1) -> MetricsData:
    return metrics(by_family, t_ns, Resource({}), "1")


def series(data: MetricsData) -> dict[Series, Point]:
    (of,) = data.resource_metrics
    (scoped,) = of.scope_metrics
    pairs = [(m.name, p) for m in scoped.metrics for p in m.data.data_points]
    by_series = {(name, frozenset((p.attributes or {}).items())): p for name, p in pairs}
    assert len(by_series) == len(pairs)  # no series twice
    return by_series  # type: ignore[return-value]


def histogram(counts: list[int], total: float) -> list[tuple[tuple[str, ...], str]]:
    """As the page has it: buckets 0.1, 1 and +Inf of one workload."""
    of = ("chat", "m")
    below = [sum(counts[: n + 1]) for n in range(3)]
    edges = [((*of, "_bucket", edge), str(count)) for edge, count in zip(("0.1", "1.0", "+Inf"), below, strict=True)]
    return [*edges, ((*of, "_sum", ""), repr(total)), ((*of, "_count", ""), str(below[-1]))]


def test_each_sample_is_one_point_and_nothing_else_is_there() -> None:
    by_family = families(Player(gpus=4, health=True, node=True).at(7))
    numbers = sum(
        len(s) for name, s in by_family.items() if not name.endswith(("first_token_seconds", "token_latency_seconds"))
    )
    points = series(metrics_of(by_family))
    assert sum(isinstance(p, NumberDataPoint) for p in points.values()) == numbers
    assert sum(isinstance(p, HistogramDataPoint) for p in points.values()) == 2


def test_a_hidden_family_is_not_sent() -> None:
    hidden = replace(Player().at(1), selection=Selection(exclude=("gpu_power_watts",)))
    (of,) = metrics_of(families(hidden)).resource_metrics
    names = {metric.name for metric in of.scope_metrics[0].metrics}
    assert "wattlens.gpu.power" not in names
    assert "hw.energy" in names


def test_a_histogram_counts_each_bucket_apart() -> None:
    (point,) = series(metrics_of({HISTOGRAM: histogram([2, 0, 5], 9.5)})).values()
    assert isinstance(point, HistogramDataPoint)
    assert (point.bucket_counts, point.explicit_bounds, point.count, point.sum) == ([2, 0, 5], [0.1, 1.0], 7, 9.5)


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_any_name_of_a_workload_can_be_sent(name: str) -> None:
    data = metrics_of({"tokens_total": [((name, "m", "prompt"), "5")]})
    assert encode_metrics(data).SerializeToString()


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.lists(st.integers(0, 50), min_size=3, max_size=3), st.booleans()), max_size=12
    )
)
def test_deltas_add_up_to_the_last_successful_total(steps: list[tuple[int, list[int], bool]]) -> None:
    total, counts = 10**6, [1, 1, 1]
    before: dict[Series, Point] = {}
    added, observed, at, reference = 0.0, [0, 0, 0], 0, None
    for n, (more, further, succeeds) in enumerate(steps, 1):
        total, counts = total + more, [a + b for a, b in zip(counts, further, strict=True)]
        data = metrics_of({"tokens_total": [(("chat", "m", "prompt"), str(total))], HISTOGRAM: histogram(counts, 0.0)}, n)
        changes, after = deltas(data, before)
        if not succeeds:
            continue
        for point in series(changes).values():
            assert (point.start_time_unix_nano, point.time_unix_nano) == (at, n)
            if isinstance(point, NumberDataPoint):
                added += point.value
            else:
                observed = [a + b for a, b in zip(observed, point.bucket_counts, strict=True)]
        reference = reference or (total, counts)
        assert (added, observed) == (total - reference[0], [a - b for a, b in zip(counts, reference[1], strict=True)])
        before, at = after, n


def test_a_counter_that_began_again_sends_all_of_its_new_value() -> None:
    def tokens(count: int, t_ns: int) -> MetricsData:
        return metrics_of({"tokens_total": [(("chat", "m", "prompt"), str(count))]}, t_ns)

    _, before = deltas(tokens(100, 1), {})
    (of,) = deltas(tokens(7, 2), before)[0].resource_metrics
    (metric,) = of.scope_metrics[0].metrics
    assert metric.data.aggregation_temporality is AggregationTemporality.DELTA  # type: ignore[union-attr]
    assert [point.value for point in metric.data.data_points] == [7]  # type: ignore[union-attr]


def test_series_that_are_gone_for_an_hour_are_forgotten() -> None:
    before: dict[Series, Point] = {}
    for n in range(200):
        data = metrics_of({"tokens_total": [((f"job-{n}", "m", "prompt"), "5")]}, n * 60 * 10**9)
        _, before = deltas(data, before)
    assert len(before) == 60
