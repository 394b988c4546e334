"""Electricity Maps: the hourly intensity of a zone, by its API v3 (`/v3/carbon-intensity/past-range`).

Source: the service's API reference as it is quoted in public clients: header `auth-token`; query zone, start, end (UTC),
emissionFactorType lifecycle | direct, temporalGranularity, disableEstimations; the answer has `data` (past-range) or `history`
with datetime, carbonIntensity (g CO2e/kWh), isEstimated, estimationMethod. A range of hours may be ten days at most.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from energy_agent.config.formats import ServiceUrl
from energy_agent.core.address import is_readable, parse_address
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.series import About, IntensityPoint
from energy_agent.factors.series_csv import printable
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.http import HttpClient, HttpError, HttpResponse
from energy_agent.site.grid.source import GridConfig, GridError, GridSource, required_zone

HOUR_NS: Final = 3600 * NS_PER_S
RANGE_MAX_NS: Final = 240 * HOUR_NS
"""Ten days: more than this a range of hours may not ask."""

_KEY: Final = "grid.sources electricity_maps."
_TYPES: Final = {EmissionBoundary.DIRECT: "direct", EmissionBoundary.LIFE_CYCLE: "lifecycle"}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|\+00:00)")
_TOKEN: Final = re.compile(r"[!-~]{1,512}")
_DEPTH_ROWS_MAX: Final = 400  # ten days have 240 hours


class ElectricityMaps(GridConfig):
    """Electricity Maps' API."""

    key_file: Path = Field(description="file with the API key; the key is sent only to `url`, and never logged")
    url: ServiceUrl = Field("https://api.electricitymaps.com", description="the service's address")
    timeout_s: float = Field(20.0, ge=1, le=60, description="timeout of a response, from connecting to its last byte")
    lookback_h: int = Field(
        48, ge=2, le=240, description="hours to request again at each reading, because values are revised in the following days"
    )
    estimates: bool = Field(True, description="accept hours that the service estimates; they are marked as estimated")

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        if is_readable(parse_address(self.url)):
            raise ValueError("the key would be sent in clear text: use https:// in url")
        return self


class ElectricityMapsSource:
    """A zone of the service."""

    def __init__(self, config: ElectricityMaps, clock: Clock) -> None:
        self._config, self._clock = config, clock
        zone, boundary = required_zone(config, "electricity_maps")
        self.about = About(
            "electricity_maps",
            zone,
            Basis(boundary),
            "Electricity Maps",
            "terms of the account with Electricity Maps; its free data are ODbL",
            "as published",
        )

    def read(self) -> tuple[IntensityPoint, ...]:
        """The last complete hours, as the service reports them now."""
        end_ns = self._clock.utc_ns() // HOUR_NS * HOUR_NS
        return self.read_between(end_ns - self._config.lookback_h * HOUR_NS, end_ns)

    def read_between(self, start_ns: int, end_ns: int) -> tuple[IntensityPoint, ...]:
        """The hours that begin from `start_ns` on and before `end_ns`, ten days per request; raises as `read` does."""
        token = read_secret(self._config.key_file, _KEY + "key_file")
        if not _TOKEN.fullmatch(token):
            raise UsageError(f"key '{_KEY}key_file': {self._config.key_file} has characters that are not allowed in an API key")
        points: dict[int, IntensityPoint] = {}
        for from_ns in range(start_ns, end_ns, RANGE_MAX_NS):
            until_ns = min(end_ns, from_ns + RANGE_MAX_NS)
            for point in self._range(token, from_ns, until_ns):
                points[point.start_ns] = point
        return tuple(point for _, point in sorted(points.items()))

    def close(self) -> None:
        """Nothing is held."""

    def _range(self, token: str, start_ns: int, end_ns: int) -> Iterator[IntensityPoint]:
        query = {
            "zone": self.about.zone,
            "start": _utc(start_ns),
            "end": _utc(end_ns),
            "temporalGranularity": "hourly",
            "emissionFactorType": _TYPES[self.about.basis.boundary],
            "disableEstimations": "false" if self._config.estimates else "true",
        }
        path = f"/v3/carbon-intensity/past-range?{urlencode(query)}"
        try:
            service = HttpClient(self._config.url, self._config.timeout_s)
            answer = service.request("GET", path, {"Accept": "application/json", "auth-token": token})
        except HttpError as error:
            raise GridError(str(error)) from None
        if answer.status != 200:
            raise GridError(self._refused(answer))
        return self._points(answer.body, start_ns, end_ns)

    def _refused(self, answer: HttpResponse) -> str:
        zone, url = self.about.zone, self._config.url
        match answer.status:
            case 401:
                return f"{url} rejects the key in {self._config.key_file}; is it complete and still valid?"
            case 403:
                return f"{url}: the key in {self._config.key_file} does not allow past hours of zone {zone}; see its plan"
            case 404:
                return f"{url} does not know zone {zone!r}"
            case 429:
                wait = answer.headers.get("retry-after", "")
                when = f"; the server requests a retry in {wait} s" if wait.isdecimal() and len(wait) < 7 else ""
                return f"{url}: too many requests with this key{when}; increase period_s"
            case status if 500 <= status < 600:
                return f"{url}: server error (status {status})"
            case status if 300 <= status < 400:
                return f"{url} redirects to another address (status {status}), where the key is not sent; correct the url"
        return f"{url} responded with status {answer.status}"

    def _points(self, body: bytes, start_ns: int, end_ns: int) -> Iterator[IntensityPoint]:
        url, digest, now_ns = self._config.url, hashlib.sha256(body).hexdigest(), self._clock.utc_ns()
        rows = _rows(body, url)
        hours: dict[int, tuple[Decimal | None, bool, str]] = {}
        for row in rows:
            for key, wanted in (("zone", self.about.zone), ("emissionFactorType", _TYPES[self.about.basis.boundary])):
                if row.get(key, wanted) != wanted:
                    raise GridError(f"{url}: expected {key} {wanted} in the response, got another")
            t_ns = _instant(row.get("datetime"), url)
            if not start_ns <= t_ns <= end_ns:
                raise GridError(f"{url}: the response has a time that was not requested")
            values = (_intensity(row, url), _estimated(row, url), printable(str(row.get("estimationMethod") or "")))
            if hours.setdefault(t_ns, values) != values:
                raise GridError(f"{url}: the response has two values for one hour")
        for t_ns, (value, estimated, method) in sorted(hours.items()):
            zero_is_a_gap = self.about.basis.boundary is EmissionBoundary.LIFE_CYCLE  # no plant is built of nothing
            if t_ns < end_ns and value is not None and (value or not zero_is_a_gap):
                yield IntensityPoint(t_ns, t_ns + HOUR_NS, value, estimated, now_ns, method, digest)


def _rows(body: bytes, url: str) -> list[Mapping[str, Any]]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        body_json = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=refuse)
    except (ValueError, RecursionError, ArithmeticError):
        raise GridError(f"{url}: the response is not JSON") from None
    rows = body_json.get("data", body_json.get("history")) if isinstance(body_json, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GridError(f"{url}: the response has no list of hours (data)")
    if len(rows) > _DEPTH_ROWS_MAX:
        raise GridError(f"{url}: the response has {len(rows)} hours, more than requested")
    return rows


def _instant(value: object, url: str) -> int:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            t_ns = int(moment.timestamp()) * NS_PER_S
            if t_ns % HOUR_NS == 0 and not moment.microsecond:
                return t_ns
    raise GridError(f"{url}: expected a full UTC hour in datetime")


def _intensity(row: Mapping[str, Any], url: str) -> Decimal | None:
    value = row.get("carbonIntensity")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise GridError(f"{url}: expected a number in carbonIntensity")
    exact = Decimal(value)
    if not 0 <= exact <= 10_000 or len(exact.as_tuple().digits) > 24:
        raise GridError(f"{url}: implausible intensity of {exact:.6g} g/kWh")
    return exact


def _estimated(row: Mapping[str, Any], url: str) -> bool:
    value = row.get("isEstimated", False)
    if not isinstance(value, bool):
        raise GridError(f"{url}: expected true or false in isEstimated")
    return value


def _utc(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SPEC = GridSource("Electricity Maps, hourly, with an API key", ElectricityMaps, ElectricityMapsSource)
