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
from urllib.parse import urlencode, urlsplit

from pydantic import Field, model_validator

from energy_agent.config.messages import SERVICE
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

    key_file: Path = Field(description="file with the API key; it is sent to `url` alone and stands in no message")
    url: str = Field("https://api.electricitymaps.com", pattern=SERVICE, description="the service's address")
    timeout_s: float = Field(20.0, ge=1, le=60, description="timeout of a response, from connecting to its last byte")
    lookback_h: int = Field(
        48, ge=2, le=240, description="hours to ask for again at each reading: values are revised in the days after"
    )
    estimates: bool = Field(True, description="take hours that the service estimates; they are marked as such")

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http" and not (host in ("localhost", "::1") or host.startswith("127.")):
            raise ValueError("the key would cross the network in the clear: use https:// in url")
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
            "as the publisher's",
        )

    def read(self) -> tuple[IntensityPoint, ...]:
        """The last complete hours, as the service reports them now."""
        end_ns = self._clock.utc_ns() // HOUR_NS * HOUR_NS
        return self.read_between(end_ns - self._config.lookback_h * HOUR_NS, end_ns)

    def read_between(self, start_ns: int, end_ns: int) -> tuple[IntensityPoint, ...]:
        """The hours that begin from `start_ns` on and before `end_ns`, ten days per request; raises as `read` does."""
        token = read_secret(self._config.key_file, _KEY + "key_file")
        if not _TOKEN.fullmatch(token):
            raise UsageError(f"key '{_KEY}key_file': {self._config.key_file} has characters that no API key has")
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
                return f"{url} refuses the key in {self._config.key_file}; is it whole and still valid?"
            case 403:
                return f"{url}: the key in {self._config.key_file} may not ask for past hours of zone {zone}; see its plan"
            case 404:
                return f"{url} knows no zone {zone!r}"
            case 429:
                wait = answer.headers.get("retry-after", "")
                when = f"; the server asks to retry in {wait} s" if wait.isdecimal() and len(wait) < 7 else ""
                return f"{url} was asked too often for this key{when}; a longer period_s asks less"
            case status if 500 <= status < 600:
                return f"{url} has a fault of its own (status {status})"
            case status if 300 <= status < 400:
                return f"{url} sends elsewhere (status {status}), and the key goes nowhere else; name the right url"
        return f"{url} answered with status {answer.status}"

    def _points(self, body: bytes, start_ns: int, end_ns: int) -> Iterator[IntensityPoint]:
        url, digest, now_ns = self._config.url, hashlib.sha256(body).hexdigest(), self._clock.utc_ns()
        rows = _rows(body, url)
        told: dict[int, tuple[Decimal | None, bool, str]] = {}
        for row in rows:
            for key, wanted in (("zone", self.about.zone), ("emissionFactorType", _TYPES[self.about.basis.boundary])):
                if row.get(key, wanted) != wanted:
                    raise GridError(f"{url} tells of another {key} than {wanted}")
            t_ns = _instant(row.get("datetime"), url)
            if not start_ns <= t_ns <= end_ns:
                raise GridError(f"{url} tells of a time that was not asked for")
            said = (_intensity(row, url), _estimated(row, url), printable(str(row.get("estimationMethod") or "")))
            if told.setdefault(t_ns, said) != said:
                raise GridError(f"{url} tells two values of one hour")
        for t_ns, (value, estimated, method) in sorted(told.items()):
            zero_is_a_gap = self.about.basis.boundary is EmissionBoundary.LIFE_CYCLE  # no plant is built of nothing
            if t_ns < end_ns and value is not None and (value or not zero_is_a_gap):
                yield IntensityPoint(t_ns, t_ns + HOUR_NS, value, estimated, now_ns, method, digest)


def _rows(body: bytes, url: str) -> list[Mapping[str, Any]]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        found = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=refuse)
    except (ValueError, RecursionError, ArithmeticError):
        raise GridError(f"{url} does not answer in JSON") from None
    rows = found.get("data", found.get("history")) if isinstance(found, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GridError(f"{url} answers without a list of hours (data)")
    if len(rows) > _DEPTH_ROWS_MAX:
        raise GridError(f"{url} tells {len(rows)} hours, more than were asked for")
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
    raise GridError(f"{url} tells a time that is no full hour in UTC")


def _intensity(row: Mapping[str, Any], url: str) -> Decimal | None:
    value = row.get("carbonIntensity")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise GridError(f"{url} tells an intensity that is no number")
    exact = Decimal(value)
    if not 0 <= exact <= 10_000 or len(exact.as_tuple().digits) > 24:
        raise GridError(f"{url} tells an absurd intensity: {exact:.6g} g/kWh")
    return exact


def _estimated(row: Mapping[str, Any], url: str) -> bool:
    value = row.get("isEstimated", False)
    if not isinstance(value, bool):
        raise GridError(f"{url} tells neither true nor false in isEstimated")
    return value


def _utc(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SPEC = GridSource("Electricity Maps, hourly, with an API key", ElectricityMaps, ElectricityMapsSource)
