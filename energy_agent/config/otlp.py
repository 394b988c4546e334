"""Configuration of the export of metrics to an OpenTelemetry receiver."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from energy_agent.config.formats import ENDPOINT_URL
from energy_agent.config.section import Section
from energy_agent.core.address import parse_address

Text = Annotated[str, Field(min_length=1, max_length=256)]


class Otlp(Section):
    """Export of the metrics by OTLP over HTTP (docs/otlp.md). Off unless an endpoint is named."""

    endpoint: Annotated[str, Field(max_length=1024), ENDPOINT_URL] | None = Field(
        None,
        description="base URL of the receiver, such as http://collector:4318; /v1/metrics is added to it",
    )
    period_s: float = Field(15.0, ge=1, le=3600, description="seconds between exports")
    timeout_s: float = Field(
        10.0, ge=0.5, le=60, description="an export that takes longer has failed; the next one has its data"
    )
    temporality: Literal["cumulative", "delta"] = Field(
        "cumulative", description="how counters are sent: as totals, or as changes since the last successful export"
    )
    compression: Literal["gzip", "none"] = Field("gzip", description="compression of requests")
    headers_file: Path | None = Field(
        None, description="file with headers of requests, a line `Name: value` each, such as Authorization"
    )
    ca_file: Path | None = Field(None, description="PEM certificates to trust instead of the system's")
    cert_file: Path | None = Field(None, description="PEM certificate chain of the client")
    key_file: Path | None = Field(None, description="its private key, if the chain does not have it")
    resource: dict[Text, Text] = Field(
        default_factory=dict,
        description=(
            "further resource attributes, such as cloud.region or deployment.environment.name; "
            "they take precedence over OTEL_RESOURCE_ATTRIBUTES and over those that Wattlens sets"
        ),
    )

    @field_validator("endpoint")
    @classmethod
    def _check_address(cls, url: str | None) -> str | None:
        if url is not None:
            parse_address(url)
        return url

    @model_validator(mode="after")
    def _check_client_key(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is used only with cert_file")
        return self

    def url(self, signal: Literal["metrics", "traces"] = "metrics") -> str:
        """Where they are posted; only for a section with an endpoint."""
        return f"{(self.endpoint or '').rstrip('/')}/v1/{signal}"
