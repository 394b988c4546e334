"""Meters that are scraped already: an instant query to Prometheus, or a server with its HTTP API (Thanos, Mimir, ...).

An instant query answers with the time of its evaluation, whatever the age of its samples: up to five minutes after the last
scrape of a target. So the same query also requests the samples' own times, by `timestamp(...)`, which returns them for a plain
selector alone. A query that is more than a selector (a sum, a rate) has none, so `samples` names the series that it reads:
their newest sample is the time of the reading, the span to their oldest is its age, and the range of the query is added.
`series` is the required number of series, as a sum from which a meter is missing looks like any other sum.
Source: Prometheus documentation, HTTP API and PromQL (functions, staleness).
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, field_validator, model_validator

from energy_agent.config.section import Section
from energy_agent.core.address import is_readable, parse_address
from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.http import HttpClient, HttpError, basic_authorization
from energy_agent.runtime.network.tls import TlsFiles
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._age import EdgeAge
from energy_agent.site.meters._promql import build_query, is_selector, looks_back_s, parse_values
from energy_agent.site.meters._source import FacilitySource, reading

_PATH: Final = "/api/v1/query"


class Prometheus(Section):
    """A query for energy, for power, or one for each."""

    url: str = Field(max_length=300, description="URL of the service, including the path before /api/v1")
    energy_query: str | None = Field(
        None, min_length=1, max_length=2_000, description="query that returns one series, a counter of energy"
    )
    energy_unit: Literal["J", "kJ", "MJ", "Wh", "kWh", "MWh", "GWh"] = Field("kWh", description="unit of the energy")
    energy_wrap: float | None = Field(None, gt=0, description="value in energy_unit at which the meter's register wraps to 0")
    power_query: str | None = Field(
        None, min_length=1, max_length=2_000, description="query that returns one series, the power"
    )
    power_unit: Literal["W", "kW", "MW"] = Field("W", description="unit of the power")
    samples: str | None = Field(
        None,
        max_length=2_000,
        description="selector of the series that a query expression reads; determines the age of the value",
    )
    series: int = Field(
        1, ge=1, le=10_000, description="number of series that `samples` must select; with another number there is no reading"
    )
    max_age_s: float = Field(150.0, ge=1, le=86_400, description="maximum age of a sample; older samples are rejected")
    ca_file: Path | None = Field(
        None, description="CA certificates for the service's certificate, if the system's do not include its issuer"
    )
    bearer_token_file: Path | None = Field(None, description="file with a bearer token; read for each query")
    user_file: Path | None = Field(None, description="file that contains the user name")
    password_file: Path | None = Field(None, description="file with the password")
    insecure: bool = Field(False, description="send the secret over http://, readable by everyone on the network path")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parse_address(url)
        return url

    @property
    def queries(self) -> dict[str, str]:
        """The queries of energy and power."""
        pairs = {"energy": self.energy_query, "power": self.power_query}
        return {name: query for name, query in pairs.items() if query is not None}

    @property
    def has_secret(self) -> bool:
        """Whether a token or password is sent."""
        return self.bearer_token_file is not None or self.password_file is not None

    @model_validator(mode="after")
    def _check_queries(self) -> Self:
        if not self.queries:
            raise ValueError("neither energy_query nor power_query is set: nothing would be read")
        for name, query in self.queries.items():
            if not is_selector(query) and self.samples is None:
                raise ValueError(
                    f"{name}_query is an expression, so the age of its samples is unknown: set samples to a selector of "
                    "the series that it reads, and series to their number"
                )
            looks_back_s(query)
        if self.samples is not None and not is_selector(self.samples):
            raise ValueError('samples: expected a plain selector, such as pdu_energy_kwh_total{row="a"}')
        return self

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        pair = (self.user_file is None, self.password_file is None)
        if pair[0] != pair[1] or (self.bearer_token_file is not None and not pair[0]):
            raise ValueError("expected bearer_token_file, or user_file and password_file, or none of them")
        if self.has_secret and is_readable(parse_address(self.url)) and not self.insecure:
            raise ValueError(
                "the secret would be sent in clear text: use https:// in url, or set insecure: true if everyone on the "
                "network path may read it"
            )
        return self


class PrometheusMeter:
    """One meter, by one query each time. A sample that was given before is not given again."""

    def __init__(self, section: Prometheus, meter: MeterConfig, clock: Clock) -> None:
        self._section, self._meter, self._clock = section, meter, clock
        self._http = HttpClient(section.url, meter.timeout_s, TlsFiles(section.ca_file), "ca_file")
        plain = {name: is_selector(query) for name, query in section.queries.items()}
        self._selectors = {name: query if plain[name] else section.samples or "" for name, query in section.queries.items()}
        self._series = {name: 1 if plain[name] else section.series for name in section.queries}
        self._back_s = max(looks_back_s(query) for query in section.queries.values())
        self._newest: dict[str, Decimal] = {}
        self._finest = dict.fromkeys(section.queries, 0)  # exponent of the finest value seen: text drops trailing zeros
        self._age = EdgeAge()

    def read(self) -> tuple[MeterReading, ...]:
        """The newest sample as of its own time; nothing where it is still the one that was given before."""
        began_s = time.monotonic()
        try:
            sampled = parse_values(self._ask(), self._selectors, self._series, self._section.max_age_s)
        except (MeterError, HttpError) as error:
            root = self._http.root
            raise MeterError(str(error) if str(error).startswith(root) else f"{root}: {error}") from None
        newest = {name: each.newest_s for name, each in sampled.items()}
        if newest == self._newest:
            return ()
        values = {name: each.value for name, each in sampled.items()}
        at_s = max(newest.values())
        span_s = float(at_s - min(each.oldest_s for each in sampled.values()))
        asked_s = time.monotonic() - began_s
        found_reading = reading(
            self._meter,
            self._clock,
            energy=values.get("energy"),
            energy_unit=self._section.energy_unit,
            energy_step=self._step("energy", values),
            wrap=None if self._section.energy_wrap is None else Decimal(repr(self._section.energy_wrap)),
            power=values.get("power"),
            power_unit=self._section.power_unit,
            power_step=self._step("power", values),
            age_s=self._age.of(span_s + self._back_s + asked_s, values.get("energy")),
        )
        self._newest = newest
        behind_ns = max(0, int((max(each.evaluated_s for each in sampled.values()) - at_s) * 10**9))
        return (replace(found_reading, t_ns=found_reading.t_ns - behind_ns, boot_ns=found_reading.boot_ns - behind_ns),)

    def close(self) -> None:
        """Nothing is held."""

    def _step(self, name: str, values: Mapping[str, Decimal]) -> Decimal:
        """Resolution as far as it has shown itself."""
        if name not in values:
            return Decimal(1)
        exponent = values[name].as_tuple().exponent
        self._finest[name] = min(self._finest[name], exponent if isinstance(exponent, int) else 0)
        return Decimal(10) ** max(-15, self._finest[name])

    def _ask(self) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        section = self._section
        if section.bearer_token_file is not None:
            headers["Authorization"] = f"Bearer {read_secret(section.bearer_token_file, 'bearer_token_file')}"
        elif section.password_file is not None:
            user = read_secret(section.user_file, "user_file")
            headers["Authorization"] = basic_authorization(user, read_secret(section.password_file, "password_file"))
        query = build_query(section.queries, self._selectors)
        form = urlencode({"query": query, "timeout": f"{self._meter.timeout_s:g}s"})
        answer = self._http.request("POST", _PATH, headers, form.encode())
        return answer.status, answer.body


SPEC = FacilitySource("a query to Prometheus, for a meter that Prometheus already scrapes", Prometheus, PrometheusMeter)
