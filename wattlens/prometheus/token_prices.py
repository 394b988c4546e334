"""Prices of tokens and grid carbon intensities from a Prometheus, or a server with its HTTP API.

One instant query returns all of them. Agents on several nodes may serve engines of one name, as replicas do, and a gateway does
not report which one answered: their price is the mean, with the bounds of all.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.network.http import HttpClient
from energy_agent.runtime.network.tls import TlsFiles
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import selector

_BODY_LIMIT_B: Final = 8 << 20
INTENSITY: Final = "wattlens_grid_carbon_intensity_grams_per_kilowatt_hour"
_HOUR_END: Final = "wattlens_engine_hour_end_timestamp_seconds"
_PRICES: Final = {
    f"wattlens_{kind}_price_joules_per_token{ending}": (kind, end)
    for kind in ("prompt", "generation")
    for ending, end in (("", "joules"), ("_lower", "lower"), ("_upper", "upper"))
}
_FREE: Final = {"joules": 0.0, "lower": 0.0, "upper": 0.0}
_FIELDS: Final = frozenset({"__name__", "engine", "model", "hour"})
_HOUR_NS: Final = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class CarbonIntensity:
    """Carbon intensity of the grid, gCO2e per kWh; `basis` names the emissions that it includes, and its source."""

    zone: str
    basis: str
    grams_per_kwh: float


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Prices of engines as GET /v1/engines has them, the open hour last, and intensities; without prices the reason."""

    hours: tuple[Mapping[str, Any], ...] = ()
    intensities: tuple[CarbonIntensity, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PrometheusTokenPrices:
    """Fetches prices.

    Args:
        access: the server.
        labels: only series with these labels, such as the cluster's.
    """

    access: PrometheusAccess
    labels: Mapping[str, str] = field(default_factory=dict)

    def fetch(self) -> TokenPrices:
        """Return the newest prices and intensities; raises WattlensError where the server has no usable response."""
        prices = selector("", self.labels, "|".join((*_PRICES, _HOUR_END)))
        http = HttpClient(
            self.access.url, self.access.timeout_s, TlsFiles(self.access.ca_file), "--ca-file", body_limit_b=_BODY_LIMIT_B
        )
        path = f"/api/v1/query?query={quote(f'{prices} or {INTENSITY}')}"
        response = http.request("GET", path, self.access.headers())
        if not response.ok:
            raise WattlensError(f"{http.root}: HTTP {response.status}")
        return parse_prices(response.body)


def parse_prices(body: bytes) -> TokenPrices:
    """Return the prices of a response to the query.

    Raises:
        WattlensError: the response has another form.
    """
    try:
        document = json.loads(body)
        samples = [({str(k): str(v) for k, v in each["metric"].items()}, float(each["value"][1])) for each in _result(document)]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WattlensError(f"unexpected response to a query of prices ({type(error).__name__})") from None
    samples = [(labels, value) for labels, value in samples if math.isfinite(value) and value >= 0]
    hours = _hours(samples)
    reason = "" if hours else "Prometheus has no prices of tokens (wattlens_prompt_price_joules_per_token)"
    intensities = {
        CarbonIntensity(labels.get("zone", ""), labels.get("basis", ""), value)
        for labels, value in samples
        if labels.get("__name__") == INTENSITY
    }
    return TokenPrices(tuple(hours), tuple(sorted(intensities, key=lambda i: (i.zone, i.basis))), reason)


def _result(document: Any) -> list[Any]:
    result = document["data"]["result"]
    if document["status"] != "success" or not isinstance(result, list):
        raise ValueError("expected a vector")
    return result


def _hours(samples: Iterable[tuple[Mapping[str, str], float]]) -> list[dict[str, Any]]:
    """Of each engine first its last final hour, then the open one."""
    nodes: dict[tuple[str, str], dict[tuple[Any, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    models: dict[str, set[str]] = defaultdict(set)
    for labels, value in samples:
        name = labels.get("__name__", "")
        if name not in _PRICES and name != _HOUR_END:
            continue
        engine, node = labels.get("engine", ""), tuple(sorted((k, v) for k, v in labels.items() if k not in _FIELDS))
        models[engine].add(labels.get("model", ""))
        nodes[labels.get("hour", ""), engine][node][name] = value
    hours = []
    for (hour, engine), replicas in sorted(nodes.items()):  # "last" sorts before "open"
        end_ns = round(max((r[_HOUR_END] for r in replicas.values() if _HOUR_END in r), default=0) * NS_PER_S)
        model = next(iter(models[engine])) if len(models[engine]) == 1 else ""
        prices: dict[str, Any] = {"cached": _FREE} | {
            kind: _merge(kind, replicas.values()) for kind in ("prompt", "generation")
        }
        hours.append(
            {
                "engine": engine, "model": model, "final": hour == "last", "replicas": len(replicas), "prices": prices,
                "start_ns": max(0, end_ns - 1) // _HOUR_NS * _HOUR_NS, "end_ns": end_ns,
            }
        )  # fmt: skip
    return hours


def _merge(kind: str, replicas: Iterable[Mapping[str, float]]) -> dict[str, float] | None:
    names = {end: name for name, (of, end) in _PRICES.items() if of == kind}
    full = [replica for replica in replicas if all(name in replica for name in names.values())]
    if not full:
        return None
    return {
        "joules": math.fsum(replica[names["joules"]] for replica in full) / len(full),
        "lower": min(replica[names["lower"]] for replica in full),
        "upper": max(replica[names["upper"]] for replica in full),
    }
