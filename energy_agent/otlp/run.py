"""A measured run as metrics and a span, for a receiver of OpenTelemetry. Imported only where one is named (extra `otlp`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from energy_agent.config.otlp import Otlp
from energy_agent.core.catalogue.opentelemetry import Attribute, energy_attributes
from energy_agent.otlp.exporter import FailureReason, connection
from energy_agent.otlp.sender import read_headers

_METRICS = (
    ("wattlens.run.energy", "J", "Energy of a measured run.", "joules"),
    ("wattlens.run.energy_lower", "J", "Lower bound of the energy.", "lower"),
    ("wattlens.run.energy_upper", "J", "Upper bound of the energy.", "upper"),
    ("wattlens.run.duration", "s", "Duration of the run.", "seconds"),
)


class _Checked(SpanExporter):
    """Remembers whether the span was accepted."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.accepted = False

    def export(self, spans: Any) -> SpanExportResult:
        """Export, and remember the result."""
        result = self._exporter.export(spans)
        self.accepted = result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def export_run(run: Mapping[str, Any], end_ns: int, config: Otlp, resource: Resource, environ: Mapping[str, str]) -> str:
    """Send a run; returns why that failed, or ''.

    Args:
        run: as `wattlens measure --out` writes it. Without energy it has its duration and the reason.
        end_ns: when it ended, UTC ns.
        config: the receiver.
        resource: who sends it.
        environ: TRACEPARENT and TRACESTATE name the span that the run is part of, as W3C Trace Context has them.

    Raises:
        UsageError: the file of headers cannot be used.
    """
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    headers, reason = read_headers(config.headers_file), FailureReason()
    labels = {"wattlens.run.name": run["name"], **{f"wattlens.run.label.{key}": value for key, value in run["labels"].items()}}
    reason.clear()
    scoped = ScopeMetrics(InstrumentationScope("wattlens"), list(_metrics(run, labels, end_ns)), "")
    metrics = OTLPMetricExporter(**connection(config, headers, "metrics"))
    if metrics.export(MetricsData([ResourceMetrics(resource, [scoped], "")])) is not MetricExportResult.SUCCESS:
        return reason.text
    spans = _Checked(OTLPSpanExporter(**connection(config, headers, "traces")))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    carrier = {name.lower(): environ[name] for name in ("TRACEPARENT", "TRACESTATE") if name in environ}
    start_ns = end_ns - round(run["seconds"] * 1e9)
    span = provider.get_tracer("wattlens").start_span(
        run["name"], context=TraceContextTextMapPropagator().extract(carrier), start_time=start_ns
    )
    for name, value in {**labels, **_attributes(run)}.items():
        span.set_attribute(name, value)
    span.end(end_time=end_ns)
    provider.shutdown()
    return "" if spans.accepted else reason.text


def _metrics(run: Mapping[str, Any], labels: Mapping[str, str], t_ns: int) -> Iterator[Metric]:
    for name, unit, text, key in _METRICS:
        if run[key] is not None:
            yield Metric(name, text, unit, Gauge([NumberDataPoint(labels, 0, t_ns, float(run[key]))]))
    for what, per in (run.get("joules_per_token") or {}).items():
        if per["joules"] is not None:
            point = NumberDataPoint({**labels, "wattlens.tokens": what}, 0, t_ns, float(per["joules"]))
            yield Metric(f"wattlens.run.energy_per_token.{what}", f"Energy per {what} token.", "J", Gauge([point]))


def _attributes(run: Mapping[str, Any]) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {"wattlens.simulated": bool(run["simulated"])}
    attributes |= energy_attributes(run["joules"], run["lower"], run["upper"], run["reason"])
    return (
        attributes
        if run["joules"] is None
        else attributes | {"wattlens.energy.method": run["method"], "wattlens.gpus": run["gpus"]}
    )
