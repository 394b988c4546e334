"""Configuration of inference servers: their endpoints, and the counter names of unknown servers."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from energy_agent.config.formats import ENDPOINT_URL, text_format
from energy_agent.config.section import Section
from energy_agent.core.address import parse_address
from energy_agent.core.text import is_printable

Label = Annotated[str, Field(max_length=128)]
Metric = Annotated[
    str,
    Field(max_length=1024),
    text_format(
        r'[a-zA-Z_:][a-zA-Z0-9_:]{0,199}(\{([a-zA-Z_][a-zA-Z0-9_]{0,63}="[^"\\]*",?){1,8}\})?',
        'the name of a metric, such as my_total or my_total{kind="out"}',
    ),
]
GroupName = Annotated[
    str,
    text_format(
        "[A-Za-z0-9][A-Za-z0-9._/-]{0,252}",
        "a name of letters, digits, '.', '_', '-' and '/' that begins with a letter or digit",
    ),
]
Fact = Annotated[str, Field(max_length=256)]
Port = Annotated[int, Field(ge=1, le=65535)]
_WHERE = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\]*)"')


class TokenMapping(Section):
    """Metric names of an inference server that Wattlens does not know, as in PromQL: `name` or `name{label="value"}`."""

    prompt: Metric | None = Field(None, description="counter of prompt tokens, those from a cache included")
    cached: Metric | None = Field(None, description="counter of prompt tokens read from a cache")
    computed: Metric | None = Field(
        None, description="counter of prompt tokens that were computed; without it: prompt minus cached"
    )
    generation: Metric | None = Field(
        None, description="counter of generated tokens; not needed with requests, for a server that generates nothing"
    )
    requests: Metric | None = Field(None, description="counter of finished requests")
    steps: Metric | None = Field(None, description="counter of engine steps")
    drafts: Metric | None = Field(None, description="counter of draft tokens of speculative decoding")
    accepted: Metric | None = Field(None, description="counter of draft tokens that the model accepted")
    aborted: Metric | None = Field(None, description="counter of requests that ended without being finished")
    running: Metric | None = Field(None, description="gauge of running requests")
    waiting: Metric | None = Field(None, description="gauge of waiting requests")
    ttft: Metric | None = Field(None, description="histogram of times to first token, without _bucket")
    itl: Metric | None = Field(None, description="histogram of times between two tokens, without _bucket")
    tpot: Metric | None = Field(
        None, description="histogram of the mean time per output token of each request, without _bucket"
    )
    prompt_per_request: Metric | None = Field(
        None, description="histogram of prompt tokens per finished request, without _bucket"
    )
    computed_per_request: Metric | None = Field(
        None, description="histogram of computed prompt tokens per finished request, without _bucket"
    )
    generation_per_request: Metric | None = Field(
        None, description="histogram of generated tokens per finished request, without _bucket"
    )
    unit: Literal["s", "ms"] = Field("s", description="unit of the histograms of times")
    moves: Literal["step", "request"] = Field(
        "request", description="when token counters advance: with every engine step, or when a request ends"
    )
    model_label: Label = Field("", description="label that names the model")
    engine_label: Label = Field("", description="label that distinguishes engines on one endpoint")

    @field_validator("ttft", "itl", "tpot", "prompt_per_request", "computed_per_request", "generation_per_request")
    @classmethod
    def _check_histogram(cls, text: str | None) -> str | None:
        name = selector(text)[0] if text is not None else ""
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix):
                raise ValueError(
                    f"expected the name of a histogram without {suffix}, such as {name.removesuffix(suffix)}, got {name!r}"
                )
        return text

    @model_validator(mode="after")
    def _check_counters(self) -> Self:
        if self.generation is None and self.requests is None:
            raise ValueError("expected generation, or requests for a server that generates nothing")
        return self


class TokenSource(Section):
    """The metrics endpoint of an inference server."""

    workload: str = Field(description="name of the workload that generates these tokens, as in wattlens_workload_info")
    url: Annotated[str, ENDPOINT_URL] = Field(description="URL of its metrics endpoint")
    ports: tuple[Port, ...] = Field(
        (), description="ports of further engines of the workload on the same host, each with a metrics endpoint"
    )
    ca_file: Path | None = Field(
        None, description="for https, CA certificates for the server's certificate, if the system's do not include its issuer"
    )
    verify: bool = Field(True, description="for https, verify the server's certificate")
    server: str = Field("vllm", description="inference server, which determines the metric names to read (docs/tokens.md)")
    mapping: TokenMapping | None = Field(None, description="for server: mapping, the names of the server's metrics")
    model: Fact = Field("", description="name of the model, replaces the name in the metrics response")
    precision: Fact = Field("", description="precision of the model's weights, such as fp8: a label of the workload")
    group: GroupName | None = Field(
        None,
        description=(
            "name of an engine whose devices belong to several workloads or nodes; configure its metrics endpoint on one "
            "node only"
        ),
    )
    role: Literal["", "prefill", "decode"] = Field(
        "",
        description=(
            "part of a service whose prefill and decode run on separate servers: requests are then counted where they are "
            "decoded"
        ),
    )
    period_s: float = Field(1.0, ge=0.5, le=60, description="seconds between reads")

    @field_validator("workload")
    @classmethod
    def _check_workload(cls, workload: str) -> str:
        if not workload.strip() or not is_printable(workload) or len(workload) > WORKLOAD_LIMIT:
            raise ValueError(f"expected a name of 1 to {WORKLOAD_LIMIT} printable characters, got {workload[:40]!r}")
        return workload

    @field_validator("ports")
    @classmethod
    def _check_ports(cls, ports: tuple[int, ...]) -> tuple[int, ...]:
        if len(ports) > ENDPOINTS_LIMIT:
            raise ValueError(f"expected at most {ENDPOINTS_LIMIT} ports, got {len(ports)}")
        return ports

    @model_validator(mode="after")
    def _check_server_keys(self) -> Self:
        if (self.mapping is None) == (self.server == "mapping"):
            raise ValueError("section mapping is required with server: mapping, and allowed only there")
        if len({parse_address(self.url, allow_query=True).port, *self.ports}) <= len(self.ports):
            raise ValueError("duplicate port: its tokens would be counted twice")
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("ca_file: expected an https:// URL with it")
        return self

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Addresses of all its pages."""
        parts = parse_address(self.url, allow_query=True)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return (self.url, *(parts._replace(netloc=f"{host}:{port}").geturl() for port in self.ports))


ENDPOINTS_LIMIT = 64
WORKLOAD_LIMIT = 1024


def selector(text: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """A name as in PromQL, taken apart: the metric, and the labels that a series must carry."""
    name, _, rest = text.partition("{")
    return name, {label: (value,) for label, value in _WHERE.findall(rest)}
