"""The LiteLLM callback with the prices of a Prometheus, without LiteLLM: tests/peers has the real proxy."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import wattlens.hooks.litellm as module
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.runtime.clock import RealClock
from tests.doubles.page_server import PageServer
from tests.energy_agent.sdk.test_request_energy import FINAL, OPEN
from tests.snapshots import Player
from tests.support import eventually, free_port
from wattlens.prometheus.token_prices import parse_prices

END_S = 1_800_000_000
USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 600}}
JOULES = 400 * 0.5 + 200 * 3.0
WH = JOULES / 3600
CACHED = {**USAGE, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 1000}}

Row = tuple[dict[str, str], float]


def series(
    engine: str = "chat",
    hour: str = "open",
    instance: str = "a",
    prompt: float | None = 0.5,
    generation: float | None = 3.0,
) -> list[Row]:
    of = {"engine": engine, "model": "Qwen/Qwen3-32B", "hour": hour, "instance": instance}
    rows = [(of | {"__name__": "wattlens_engine_hour_end_timestamp_seconds"}, float(END_S))]
    for kind, price in (("prompt", prompt), ("generation", generation)):
        if price is not None:
            rows += [
                (of | {"__name__": f"wattlens_{kind}_price_joules_per_token{end}"}, price * factor)
                for end, factor in (("", 1.0), ("_lower", 0.9), ("_upper", 1.2))
            ]
    return rows


def intensity(zone: str, grams: float) -> Row:
    name = "wattlens_grid_carbon_intensity_grams_per_kilowatt_hour"
    return {"__name__": name, "zone": zone, "basis": "direct, hourly"}, grams


def vector(rows: list[Row]) -> bytes:
    result = [{"metric": labels, "value": [END_S, repr(value)]} for labels, value in rows]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


class Store(PageServer):
    """Answers each query with `rows`."""

    def __init__(self) -> None:
        self.rows: list[Row] = [*series(), intensity("DE", 400.0)]
        super().__init__(lambda: vector(self.rows), content_type="application/json")
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    package = ModuleType("litellm.integrations.custom_logger")
    package.CustomLogger = type("CustomLogger", (), {})  # type: ignore[attr-defined]
    for name in ("litellm", "litellm.integrations"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    with Store() as store:
        yield store
    vars(module).pop("WattlensLogger", None)


def logger(store: Store, **settings: Any) -> Any:
    """A callback that has its prices."""
    callback = module.WattlensLogger(store.url, **settings)
    eventually(lambda: logged(callback).get("reason") != "prices of tokens are not fetched yet")
    return callback


def logged(callback: Any, usage: Mapping[str, Any] = USAGE, about: Mapping[str, Any] | None = None, **more: Any) -> Any:
    metadata: dict[str, Any] = {
        "model_info": {"wattlens_engine": "chat"} if about is None else about,
        "spend_logs_metadata": {"team": "x"},
    }
    kwargs = {"litellm_params": {"metadata": metadata}, "model": "m", **more}
    response = SimpleNamespace(usage=usage)
    assert asyncio.run(callback.async_logging_hook(kwargs, response, "acompletion")) == (kwargs, response)
    assert metadata["spend_logs_metadata"]["team"] == "x"
    return metadata["spend_logs_metadata"].get("wattlens")


def headers(callback: Any, response: Any, engine: str = "chat") -> Any:
    key = SimpleNamespace(parent_otel_span=None)
    info = {"model_info": {"wattlens_engine": engine}}
    return asyncio.run(callback.async_post_call_response_headers_hook({}, key, response, {}, info))


def test_spend_log_has_energy_and_co2e_with_their_bases(store: Store) -> None:
    entry = logged(logger(store))
    assert entry == {
        "engine": "chat",
        "boundary": "gpu",
        "method": "share",
        "energy_wh": pytest.approx(WH),
        "energy_lower_wh": pytest.approx(0.9 * WH),
        "energy_upper_wh": pytest.approx(1.2 * WH),
        "price": "provisional",
        "price_time": "2027-01-15T08:00:00+00:00",
        "co2e_g": pytest.approx(WH / 1000 * 400),
        "carbon_intensity_g_per_kwh": 400.0,
        "carbon_basis": "direct, hourly",
        "carbon_zone": "DE",
    }
    json.dumps(entry)


def test_other_loggers_get_it_with_the_standard_payload(store: Store) -> None:
    payload: dict[str, Any] = {"metadata": {"spend_logs_metadata": None}}
    entry = logged(logger(store), standard_logging_object=payload)
    assert payload["metadata"]["spend_logs_metadata"] == {"wattlens": entry}


def test_headers_of_a_response_and_none_of_a_stream(store: Store) -> None:
    callback = logger(store)
    assert headers(callback, SimpleNamespace(usage=USAGE)) == {
        "x-wattlens-energy-wh": f"{WH:.6g}",
        "x-wattlens-energy-lower-wh": f"{0.9 * WH:.6g}",
        "x-wattlens-energy-upper-wh": f"{1.2 * WH:.6g}",
        "x-wattlens-co2e-g": f"{WH / 1000 * 400:.6g}",
        "x-wattlens-price": "provisional",
    }
    assert headers(callback, object()) is None
    assert headers(callback, SimpleNamespace(usage=USAGE), "other") is None


def test_the_proxy_finds_the_headers_hook_in_the_class_itself(store: Store) -> None:
    assert "async_post_call_response_headers_hook" in vars(module.WattlensLogger)


def test_a_stream_is_logged_with_its_complete_response(store: Store) -> None:
    complete = SimpleNamespace(usage=CACHED)
    entry = logged(logger(store), {}, async_complete_streaming_response=complete)
    assert entry["energy_wh"] == 0.0


@pytest.mark.parametrize(
    ("settings", "about"),
    [({"engines": {"g": "chat"}}, {}), ({}, {"wattlens_engine": "chat"}), ({}, {})],
    ids=["setting", "model_info", "model"],
)
def test_engine_of_a_request(store: Store, settings: dict[str, Any], about: dict[str, str]) -> None:
    metadata: dict[str, Any] = {"model_info": about, "model_group": "g"}
    kwargs = {"litellm_params": {"metadata": metadata}, "model": "hosted_vllm/Qwen/Qwen3-32B"}
    asyncio.run(logger(store, **settings).async_logging_hook(kwargs, {"usage": USAGE}, "acompletion"))
    assert metadata["spend_logs_metadata"]["wattlens"]["energy_wh"] == pytest.approx(WH)


def test_two_engines_of_one_model_have_to_be_named(store: Store) -> None:
    store.rows += series("other")
    metadata: dict[str, Any] = {}
    kwargs = {"litellm_params": {"metadata": metadata}, "model": "openai/Qwen/Qwen3-32B"}
    asyncio.run(logger(store).async_logging_hook(kwargs, {"usage": USAGE}, "acompletion"))
    entry = metadata["spend_logs_metadata"]["wattlens"]
    assert entry["reason"] == "set model_info.wattlens_engine to one of: chat, other"
    assert "energy_wh" not in entry


def test_the_last_hour_prices_what_the_open_hour_cannot(store: Store) -> None:
    store.rows = [*series(hour="open", generation=None), *series(hour="last", prompt=1.0, generation=1.0)]
    entry = logged(logger(store))
    assert entry["price"] == "final"
    assert entry["energy_wh"] == pytest.approx(600 / 3600)


def test_replicas_on_several_nodes_have_their_mean_and_the_bounds_of_all(store: Store) -> None:
    store.rows = [*series(instance="a"), *series(instance="b", prompt=1.0, generation=5.0)]
    entry = logged(logger(store))
    assert entry["energy_wh"] * 3600 == pytest.approx(400 * 0.75 + 200 * 4.0)
    assert entry["energy_lower_wh"] * 3600 == pytest.approx(0.9 * JOULES)
    assert entry["energy_upper_wh"] * 3600 == pytest.approx(1.2 * (400 * 1.0 + 200 * 5.0))


def test_a_response_of_the_gateways_cache_costs_nothing(store: Store) -> None:
    callback = logger(store)
    entry = logged(callback, cache_hit=True)
    assert (entry["energy_wh"], entry["co2e_g"], entry["price"]) == (0.0, 0.0, "final")
    hit = SimpleNamespace(usage=USAGE, _hidden_params={"cache_hit": True})
    assert headers(callback, hit)["x-wattlens-energy-wh"] == "0"


def test_carbon_is_of_the_zone_or_stated_or_absent_with_a_reason(store: Store) -> None:
    store.rows += [intensity("FR", 30.0)]
    callback = logger(store)
    several = logged(callback)
    assert "co2e_g" not in several
    assert several["co2e_reason"] == "several carbon intensities, set the zone: DE (direct, hourly), FR (direct, hourly)"
    assert logged(callback, about={"wattlens_engine": "chat", "wattlens_zone": "FR"})["carbon_intensity_g_per_kwh"] == 30.0
    assert logged(logger(store, zone="DE"))["carbon_intensity_g_per_kwh"] == 400.0
    assert "in zone XX" in logged(logger(store, zone="XX"))["co2e_reason"]
    stated = logged(logger(store, carbon_g_per_kwh=50, carbon_basis="supplier, 2025, direct"))
    assert (stated["carbon_intensity_g_per_kwh"], stated["carbon_basis"]) == (50, "supplier, 2025, direct")


@pytest.mark.parametrize("settings", [{"carbon_g_per_kwh": 5}, {"carbon_g_per_kwh": float("nan"), "carbon_basis": "x"}])
def test_a_stated_intensity_needs_its_basis(store: Store, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="carbon_basis"):
        module.WattlensLogger(store.url, **settings)


def test_a_dead_server_leaves_a_reason_in_the_log_and_no_header(store: Store) -> None:
    callback = module.WattlensLogger(f"http://127.0.0.1:{free_port()}")
    entry = eventually(lambda: "refused" in logged(callback)["reason"] and logged(callback))
    assert "energy_wh" not in entry
    assert headers(callback, SimpleNamespace(usage=USAGE)) is None


def test_without_prometheus_prices_are_those_of_the_nodes_agent(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = EnergyHistory()
    history.add(replace(Player(gpus=2).at(5, time.time_ns()), engine_hours=(FINAL, OPEN)))
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "agent.sock"))
    api = ClientApi(tmp_path / "agent.sock", Routes(history), Peers([Path("/proc")], RealClock()))
    api.start()
    try:
        callback = module.WattlensLogger(carbon_g_per_kwh=100, carbon_basis="stated")
        usage = {"prompt_tokens": 800, "completion_tokens": 150}
        entry = eventually(lambda: "energy_wh" in (record := logged(callback, usage)) and record)
    finally:
        api.stop()
    assert entry["energy_wh"] == pytest.approx(200.0 / 3600)
    assert entry["co2e_g"] == pytest.approx(200.0 / 3600 / 10)


def test_prices_that_are_too_old_are_absent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = logger(store, refresh_s=0.0)
    store.rows = []
    assert "energy_wh" in logged(callback)
    monkeypatch.setattr(module, "_STALE_S", -1.0)
    entry = eventually(lambda: "no prices" in logged(callback).get("reason", "") and logged(callback))
    assert "s old: Prometheus has no prices" in entry["reason"]


def test_prices_are_fetched_once_per_period(store: Store) -> None:
    callback = logger(store, refresh_s=3600)
    for _ in range(20):
        logged(callback)
    assert store.requests == 1


def test_a_response_without_usage_is_not_logged(store: Store) -> None:
    assert logged(logger(store), {}) is None


def test_strange_arguments_do_not_fail_a_request(store: Store) -> None:
    callback = logger(store)
    kwargs = {"litellm_params": 5}
    assert asyncio.run(callback.async_logging_hook(kwargs, None, "x")) == (kwargs, None)
    assert asyncio.run(callback.async_logging_hook(kwargs=kwargs, result=None, call_type="x")) == (kwargs, None)
    assert asyncio.run(callback.async_post_call_response_headers_hook(None, None, None)) is None


def test_the_proxys_span_has_usage_and_energy(store: Store) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    exporter = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(sys.modules["opentelemetry.sdk.trace.export"].SimpleSpanProcessor(exporter))
    callback = logger(store)
    with provider.get_tracer("proxy").start_as_current_span("request"):
        headers(callback, SimpleNamespace(usage=USAGE))
    parent = provider.get_tracer("proxy").start_span("parent")
    kwargs: dict[str, Any] = {"litellm_params": {"metadata": {"litellm_parent_otel_span": parent}}, "model": ""}
    asyncio.run(callback.async_logging_hook(kwargs, {"usage": USAGE}, "acompletion"))
    parent.end()
    first, second = (dict(span.attributes) for span in exporter.get_finished_spans())
    assert first == {
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
        "wattlens.engine": "chat",
        "wattlens.energy.joules": pytest.approx(JOULES),
        "wattlens.energy.lower_joules": pytest.approx(0.9 * JOULES),
        "wattlens.energy.upper_joules": pytest.approx(1.2 * JOULES),
        "wattlens.energy.method": "share",
        "wattlens.energy.price": "provisional",
        "wattlens.co2e.grams": pytest.approx(WH / 1000 * 400),
        "wattlens.co2e.basis": "direct, hourly",
    }
    assert second["wattlens.energy.absent_reason"].startswith("set model_info.wattlens_engine")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"status": "success", "data": {"result": [5]}}', b'{"status": "error", "data": {"result": []}}'],
)
def test_a_response_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(WattlensError, match="unexpected response"):
        parse_prices(body)


def test_values_that_are_no_prices_are_ignored() -> None:
    rows = [({"__name__": "wattlens_prompt_price_joules_per_token", "engine": "e"}, value) for value in (float("nan"), -1.0)]
    assert parse_prices(vector(rows)).hours == ()
