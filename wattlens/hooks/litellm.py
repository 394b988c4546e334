"""Callback of LiteLLM: energy and CO2e of each request in the spend log, in response headers and on the current span.

    # wattlens_callback.py, next to LiteLLM's config.yaml, which has `callbacks: wattlens_callback.callback`
    from wattlens.hooks.litellm import WattlensLogger
    callback = WattlensLogger(prometheus="http://prometheus:9090", zone="DE")

The energy is the request's share in the energy of its engine (`wattlens.request_energy`). Prices are fetched in a thread of
their own, so a request neither waits for them nor fails because of them: without a price the log has the reason instead.
Interface: litellm.integrations.custom_logger.CustomLogger of LiteLLM 1.110.
"""

import functools
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.catalogue.opentelemetry import Attribute, energy_attributes
from energy_agent.core.units import J_PER_KWH, NS_PER_S
from energy_agent.core.workloads.token_price import RequestTokens
from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.request_energy import RequestEnergy, energy_at, fetch_hours, usage_of
from energy_agent.sdk.stated_carbon import check_carbon
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.token_prices import CarbonIntensity, PrometheusTokenPrices, TokenPrices

if TYPE_CHECKING:
    WattlensLogger: Any

log = logging.getLogger("wattlens.litellm")

__all__ = ["WattlensLogger"]

_J_PER_WH: Final = J_PER_KWH / 1000
_FETCH_TIMEOUT_S: Final = 5.0
_STALE_S: Final = 300.0
_LOG_KEY: Final = "wattlens"
_HEADERS_HOOK: Final = "async_post_call_response_headers_hook"
_HEADERS: Final = {
    "energy_wh": "x-wattlens-energy-wh",
    "energy_lower_wh": "x-wattlens-energy-lower-wh",
    "energy_upper_wh": "x-wattlens-energy-upper-wh",
    "co2e_g": "x-wattlens-co2e-g",
    "price": "x-wattlens-price",
}


class PriceCache:
    """The last prices that were fetched. Reading it never waits: it starts a fetch where one is due."""

    def __init__(self, fetch: Callable[[], TokenPrices], refresh_s: float) -> None:
        self._fetch, self._refresh_s = fetch, refresh_s
        self._prices, self._fetched_s = TokenPrices(reason="prices of tokens are not fetched yet"), float("-inf")
        self._due_s, self._failure = float("-inf"), "no response yet"
        self._thread: threading.Thread | None = None

    def latest(self) -> TokenPrices:
        """Prices that are at most some minutes old."""
        now_s = time.monotonic()
        if now_s >= self._due_s and (self._thread is None or not self._thread.is_alive()):
            self._due_s = now_s + self._refresh_s
            self._thread = threading.Thread(target=self._update, name="wattlens-prices", daemon=True)
            start_thread(self._thread)
        if self._prices.hours and now_s - self._fetched_s > _STALE_S:
            return TokenPrices(reason=f"the last prices of tokens are more than {_STALE_S:g} s old: {self._failure}")
        return self._prices

    def _update(self) -> None:
        try:
            prices = self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever fails here must not reach a request
            self._failure = str(error) or type(error).__name__
            if not self._prices.hours:
                self._prices = TokenPrices(reason=self._failure)
            return
        if prices.hours or not self._prices.hours:
            self._prices, self._fetched_s = prices, time.monotonic()
        else:
            self._failure = prices.reason


@dataclass(frozen=True, slots=True)
class RequestFootprint:
    """Energy and CO2e of a request, as it is logged."""

    tokens: RequestTokens
    energy: RequestEnergy
    carbon: CarbonIntensity | None
    carbon_reason: str = ""

    def document(self) -> dict[str, object]:
        """Fields of the spend log; a value that is not known is absent, and its reason present."""
        energy = self.energy
        fields: dict[str, object] = {"engine": energy.engine, "boundary": energy.boundary, "method": "share"}
        if energy.joules is None or energy.lower is None or energy.upper is None:
            return fields | {"reason": energy.reason}
        fields |= {
            "energy_wh": energy.joules / _J_PER_WH,
            "energy_lower_wh": energy.lower / _J_PER_WH,
            "energy_upper_wh": energy.upper / _J_PER_WH,
            "price": "provisional" if energy.provisional else "final",
        }
        if energy.end_ns:
            fields["price_time"] = datetime.fromtimestamp(energy.end_ns / NS_PER_S, UTC).isoformat(timespec="seconds")
        if self.carbon is None:
            return fields | {"co2e_reason": self.carbon_reason}
        return fields | {
            "co2e_g": energy.joules / J_PER_KWH * self.carbon.grams_per_kwh,
            "carbon_intensity_g_per_kwh": self.carbon.grams_per_kwh,
            "carbon_basis": self.carbon.basis,
            "carbon_zone": self.carbon.zone,
        }

    def headers(self) -> dict[str, str]:
        """Response headers; without an energy none. Reasons name addresses of the operator, so they are not sent."""
        fields = self.document()
        values = {header: fields[name] for name, header in _HEADERS.items() if name in fields}
        return {header: f"{value:.6g}" if isinstance(value, float) else str(value) for header, value in values.items()}

    def attributes(self) -> dict[str, Attribute]:
        """Attributes of a span: usage by the semantic conventions for generative AI, energy by those of measured windows."""
        tokens, energy = self.tokens, self.energy
        attributes: dict[str, Attribute] = {
            "gen_ai.usage.input_tokens": tokens.computed + tokens.cached,
            "gen_ai.usage.output_tokens": tokens.generated,
            "wattlens.engine": energy.engine,
            **energy_attributes(energy.joules, energy.lower, energy.upper, energy.reason),
        }
        if energy.joules is None:
            return attributes
        attributes |= {
            "wattlens.energy.method": "share",
            "wattlens.energy.price": "provisional" if energy.provisional else "final",
        }
        if self.carbon is None:
            return attributes | {"wattlens.co2e.absent_reason": self.carbon_reason}
        grams = energy.joules / J_PER_KWH * self.carbon.grams_per_kwh
        return attributes | {"wattlens.co2e.grams": grams, "wattlens.co2e.basis": self.carbon.basis}


def _harmless(hook: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A hook whose errors are logged: a request goes on without its energy."""

    @functools.wraps(hook)
    async def run(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return await hook(self, *args, **named)
        except Exception as error:  # noqa: BLE001
            log.warning("energy of a request is missing: %s: %s", type(error).__name__, error)
            return (args or tuple(named.values()))[:2] if hook.__name__ == "async_logging_hook" else None

    return run


class _Hooks:
    """Logs the energy of requests.

    Args:
        prometheus: URL of a Prometheus, or a server with its HTTP API, that scrapes the agents; without it the socket of this
            node's agent is read.
        labels: only prices with these labels, such as {"cluster": "prod"}.
        engines: engine of a model group of LiteLLM, where a deployment's `model_info` has no `wattlens_engine`.
        zone: zone of the grid, where Prometheus has the intensities of several and `model_info` no `wattlens_zone`.
        carbon_g_per_kwh: a stated intensity instead of that of Prometheus.
        carbon_basis: what it is: its source, year and what emissions it includes; required with it.
        refresh_s: prices are fetched at most this often.
        token_file: file with a bearer token for Prometheus.
        user_file: file with user:password for Prometheus.
        ca_file: certificates that sign that of Prometheus.

    Raises:
        UsageError: a setting that cannot be used.
    """

    def __init__(
        self,
        prometheus: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        engines: Mapping[str, str] | None = None,
        zone: str = "",
        carbon_g_per_kwh: float | None = None,
        carbon_basis: str = "",
        refresh_s: float = 15.0,
        token_file: Path | str | None = None,
        user_file: Path | str | None = None,
        ca_file: Path | str | None = None,
    ) -> None:
        super().__init__()
        check_carbon(carbon_g_per_kwh, carbon_basis)
        self._engines, self._zone = dict(engines or {}), zone
        self._stated = None if carbon_g_per_kwh is None else CarbonIntensity(zone, carbon_basis, carbon_g_per_kwh)
        fetch = _fetch_from_agent
        if prometheus:
            ca, token, user = (None if file is None else Path(file) for file in (ca_file, token_file, user_file))
            access = PrometheusAccess(prometheus, _FETCH_TIMEOUT_S, ca, token, user)
            fetch = PrometheusTokenPrices(access, dict(labels or {})).fetch
        self._prices = PriceCache(fetch, refresh_s)
        self._prices.latest()

    @_harmless
    async def async_logging_hook(self, kwargs: dict[str, Any], result: Any, call_type: str) -> tuple[dict[str, Any], Any]:
        """Add the energy to the request's metadata; runs after the response, before the loggers that write the spend log."""
        parameters = kwargs.get("litellm_params") or {}
        metadata = [m for m in (parameters.get(key) for key in ("metadata", "litellm_metadata")) if isinstance(m, dict)]
        about = next((m["model_info"] for m in metadata if m.get("model_info")), None) or parameters.get("model_info") or {}
        group = next((str(m["model_group"]) for m in metadata if m.get("model_group")), "")
        response = kwargs.get("async_complete_streaming_response") or result
        footprint = self._footprint(
            response, about, group, str(kwargs.get("model") or ""), is_cached=bool(kwargs.get("cache_hit"))
        )
        if footprint is not None:
            payload = kwargs.get("standard_logging_object")
            if isinstance(payload, dict) and isinstance(payload.get("metadata"), dict):
                metadata.append(payload["metadata"])
            for each in metadata:
                each["spend_logs_metadata"] = {**(each.get("spend_logs_metadata") or {}), _LOG_KEY: footprint.document()}
            _annotate(footprint, next((m.get("litellm_parent_otel_span") for m in metadata), None))
        return kwargs, result

    @_harmless
    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, Any] | None = None,
    ) -> dict[str, str] | None:
        """Headers with the energy, unless the response is streamed: then its tokens are not known yet."""
        about = (litellm_call_info or {}).get("model_info") or {}
        hidden = getattr(response, "_hidden_params", None) or {}
        metadata = data.get("metadata") or data.get("litellm_metadata") or {}
        model = str((about.get("key") if isinstance(about, Mapping) else "") or getattr(response, "model", "") or "")
        footprint = self._footprint(
            response,
            metadata.get("model_info") or about,
            str(metadata.get("model_group") or data.get("model") or ""),
            model,
            is_cached=bool(hidden.get("cache_hit")),
        )
        if footprint is None:
            return None
        _annotate(footprint, getattr(user_api_key_dict, "parent_otel_span", None))
        return footprint.headers() or None

    def _footprint(
        self, response: Any, about: Mapping[str, Any], group: str, model: str, *, is_cached: bool
    ) -> RequestFootprint | None:
        """None where the response has no counts of tokens."""
        usage = response.get("usage") if isinstance(response, Mapping) else getattr(response, "usage", None)
        try:
            tokens = usage_of(usage)
        except TypeError:
            return None
        prices = self._prices.latest()
        engine = str(about.get("wattlens_engine") or self._engines.get(group) or "")
        carbon, reason = self._intensity(prices, str(about.get("wattlens_zone") or self._zone))
        if is_cached:  # LiteLLM answered from its own cache: no engine computed anything
            return RequestFootprint(tokens, RequestEnergy(0.0, 0.0, 0.0, "", engine, provisional=False), carbon, reason)
        return RequestFootprint(tokens, _share(tokens, prices, engine, model), carbon, reason)

    def _intensity(self, prices: TokenPrices, zone: str) -> tuple[CarbonIntensity | None, str]:
        if self._stated is not None:
            return self._stated, ""
        matches = [i for i in prices.intensities if not zone or i.zone == zone]
        if len(matches) == 1:
            return matches[0], ""
        if not matches:
            return (
                None,
                f"no carbon intensity of the grid{f' in zone {zone}' if zone else ''}: run `wattlens site`, or state one",
            )
        options = ", ".join(sorted({f"{i.zone} ({i.basis})" for i in matches}))
        return None, f"several carbon intensities, set the zone: {options[:200]}"


def _share(tokens: RequestTokens, prices: TokenPrices, engine: str, model: str) -> RequestEnergy:
    """At the newest price that there is for all kinds of its tokens."""
    if not prices.hours:
        return RequestEnergy(None, None, None, prices.reason, engine)
    if not engine:
        served = {str(hour["engine"]) for hour in prices.hours if hour["model"] and model.endswith(hour["model"])}
        if len(served) != 1:
            names = ", ".join(sorted(served or {str(hour["engine"]) for hour in prices.hours}))[:200]
            return RequestEnergy(None, None, None, f"set model_info.wattlens_engine to one of: {names}", model)
        engine = served.pop()
    energy = RequestEnergy(None, None, None, f"no price of engine {engine!r}", engine)
    for hour in reversed([hour for hour in prices.hours if hour["engine"] == engine]):
        energy = energy_at(tokens, hour)
        if energy.joules is not None:
            break
    return energy


def _fetch_from_agent() -> TokenPrices:
    hours, reason = fetch_hours()
    return TokenPrices(tuple(hours), (), reason if not hours else "")


def _annotate(footprint: RequestFootprint, parent: Any) -> None:
    """Set attributes on the current span, or on the proxy's span of the request."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    span = next((each for each in (trace.get_current_span(), parent) if each is not None and each.is_recording()), None)
    if span is not None:
        span.set_attributes(footprint.attributes())


def __getattr__(name: str) -> Any:
    """`WattlensLogger`, a LiteLLM `CustomLogger`: LiteLLM is imported on first access."""
    if name == "WattlensLogger":
        base = import_module("litellm.integrations.custom_logger").CustomLogger
        namespace = {
            "__doc__": _Hooks.__doc__,
            _HEADERS_HOOK: getattr(_Hooks, _HEADERS_HOOK),
        }  # the proxy looks in the class alone
        logger = globals()[name] = type(name, (_Hooks, base), namespace)
        return logger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
