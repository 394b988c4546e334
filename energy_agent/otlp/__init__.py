"""Send the metrics of a process to an OpenTelemetry receiver (OTLP over HTTP)."""
