"""A snapshot through OpenTelemetry's exporter. Imported only where `otlp` is configured (extra `otlp`)."""

import logging
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from energy_agent.config.otlp import Otlp
from energy_agent.core.energy import Identity
from energy_agent.otlp.exported import ExportedSnapshot, Families
from energy_agent.otlp.points import Point, Series, deltas, metrics

_TRANSIENT = re.compile(r"Transient error (.{1,400}?) encountered while", re.DOTALL)
_CAUSES = (
    (re.compile(r"\[Errno -?\d+\] ([\w ]{1,100})"), "{}"),
    (re.compile(r"(?i)(timed out)"), "no response in time"),
    (re.compile(r"certificate verify failed: ([\w ]{1,100})"), "certificate is not trusted: {}"),
    (re.compile(r"\[SSL: \w+\] ([\w ]{1,100}?) ?\("), "TLS failed: {}"),
    (re.compile(r"(BadStatusLine)"), "the response is not HTTP"),
    (re.compile(r"batch code: (\d{3})\b"), "HTTP {}"),
    (re.compile(r"(max retries or shutdown|set connect timeout to)"), "no successful export in time"),
)
"""What an error of urllib3 is in one line: its own text is nested, and names classes of Python."""


def _plain_cause(text: str) -> str:
    for pattern, plain in _CAUSES:
        if match := pattern.search(text):
            return plain.format(match[1].strip().lower())
    return text


class _FirstMessage(logging.Handler):
    """Keeps why an export failed, which the exporter only logs: the error of its first attempt, not that attempts ended."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first message since `text` was emptied."""
        message = record.getMessage()
        cause_match = _TRANSIENT.match(message)
        self.text = self.text or _plain_cause(cause_match[1] if cause_match else message)


class FailureReason:
    """Why the last export failed; made once, it listens to what OpenTelemetry's exporters log."""

    def __init__(self) -> None:
        self._message = _FirstMessage()
        library = logging.getLogger("opentelemetry")
        library.addHandler(self._message)
        library.propagate = False

    def clear(self) -> None:
        """Before an export."""
        self._message.text = ""

    @property
    def text(self) -> str:
        """The reason, after an export that failed."""
        return self._message.text or "the export failed"


def connection(config: Otlp, headers: Mapping[str, str], signal: Literal["metrics", "traces"]) -> dict[str, Any]:
    """Arguments of OpenTelemetry's exporter for a receiver; `headers` are sent with each request."""
    import requests
    from opentelemetry.exporter.otlp.proto.http import Compression

    url = config.url(signal)
    session = requests.Session()
    session.trust_env = False  # with it, $REQUESTS_CA_BUNDLE replaces the file of the configuration, and ~/.netrc is read
    session.proxies = requests.utils.get_environ_proxies(url)
    return {
        "endpoint": url,
        "session": session,
        "certificate_file": _text(config.ca_file) or ssl.get_default_verify_paths().cafile,
        "client_key_file": _text(config.key_file),
        "client_certificate_file": _text(config.cert_file),
        "headers": headers,
        "timeout": config.timeout_s,
        "compression": Compression.Gzip if config.compression == "gzip" else Compression.NoCompression,
    }


class Exporter:
    """Exports snapshots one after another; must be called by one thread only."""

    def __init__(self, config: Otlp, headers: Mapping[str, str], families: Families) -> None:
        """`headers` are sent with each request."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._config, self._families = config, families
        self._before: dict[Series, Point] = {}
        self._reason = FailureReason()
        self._exporter = OTLPMetricExporter(**connection(config, headers, "metrics"))

    def __call__(self, snapshot: ExportedSnapshot) -> str:
        """Export; returns why that failed, or ''."""
        resource = resource_of(snapshot.identity, os.environ).merge(Resource(self._config.resource))
        data = metrics(self._families(snapshot), snapshot.t_ns, resource, snapshot.identity.version)
        after = self._before
        if self._config.temporality == "delta":
            data, after = deltas(data, self._before)
        self._reason.clear()
        if self._exporter.export(data) is not MetricExportResult.SUCCESS:
            return self._reason.text
        self._before = after
        return ""


def resource_of(identity: Identity, environ: Mapping[str, str]) -> Resource:
    """Attributes by the semantic conventions for services, hosts and Kubernetes, and of OTEL_RESOURCE_ATTRIBUTES."""
    ours = {
        "service.name": "wattlens",
        "service.version": identity.version,
        "service.instance.id": identity.node,
        "host.name": identity.node,
    }
    if "KUBERNETES_SERVICE_HOST" in environ:
        ours |= {"k8s.cluster.name": identity.cluster, "k8s.node.name": environ.get("NODE_NAME", identity.node)}
    return Resource(ours).merge(OTELResourceDetector().detect())


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
