"""A real LiteLLM proxy in front of two simulated engines, with prices from a real Prometheus that scrapes a real agent.

LiteLLM pins much of what it imports, so it has an environment of its own (`pip install litellm[proxy]`), whose program
`litellm` WATTLENS_LITELLM names. The proxy has no database here: the row of the spend log is what LiteLLM's own
`get_logging_payload` makes of the request, which is what it inserts.
"""

import json
import math
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import wattlens
from benchmarks.exactness import TruthRecorder
from benchmarks.running import AgentProcess
from energy_agent.runtime.network.http import HttpClient
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.doubles.page_server import PageServer
from tests.support import eventually, free_port, need_environment, need_program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1200)]

PAGE = (Path(__file__).parents[2] / "docs/litellm.md").read_text()
NODE = """
boards: [{count: 2, sku: H100-SXM5-80GB}]
workloads:
  - {name: chat, kind: serving, gpus: [0], arrivals: none, memory_gb: 36, prefix_cached_ratio: 0.25}
  - {name: code, kind: serving, gpus: [1], arrivals: none, memory_gb: 36}
"""
INTENSITIES = {"chat": 380, "code": 30}
ROWS = """
import json
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

class Rows(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        row = get_logging_payload(kwargs, response_obj, start_time, end_time)
        names = ("request_id", "model_group", "prompt_tokens", "completion_tokens", "metadata")
        with open("rows.jsonl", "a") as file:
            file.write(json.dumps({name: row[name] for name in names}) + "\\n")

rows = Rows()
"""
KEY = "sk-of-the-test"


@dataclass
class Gateway:
    """What runs, and where."""

    proxy: str
    prometheus: str
    prometheus_process: subprocess.Popen[bytes]
    socket: Path
    rows: Path
    node: SimulatedNode
    truth: TruthRecorder

    def send(self, model: str, words: int, tokens: int, **more: Any) -> tuple[Any, bytes]:
        """Headers and body of a response."""
        body = {"model": model, "messages": [{"role": "user", "content": "word " * words}], "max_tokens": tokens, **more}
        request = urllib.request.Request(
            f"{self.proxy}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.headers, response.read()

    def logged(self) -> list[dict[str, Any]]:
        """Rows of the spend log, with their metadata parsed."""
        lines = self.rows.read_text().splitlines() if self.rows.exists() else []
        return [row | {"metadata": json.loads(row["metadata"])} for row in map(json.loads, lines)]

    def hours(self) -> list[dict[str, Any]]:
        """Prices by the agent's own API."""
        response = HttpClient("http://agent", 5.0, unix_socket=self.socket).request("GET", "/v1/engines")
        hours: list[dict[str, Any]] = json.loads(response.body)["hours"]
        return hours

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples of an instant query of Prometheus."""
        query = urllib.parse.quote(expression)
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?query={query}", timeout=5) as response:
            samples: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return samples


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with _running(tmp_path, NODE) as running:
        yield running


@contextmanager
def _running(tmp_path: Path, scenario_text: str) -> Iterator[Gateway]:
    litellm = need_environment("WATTLENS_LITELLM", "the program of a litellm[proxy]")
    program, scraped, grid = need_program("prometheus"), free_port(), _grid()
    processes: list[subprocess.Popen[bytes]] = []
    with (
        SimulatedNode.start(scenario.parse(scenario_text.encode(), "test"), tmp_path / "node") as node,
        node.plant() as plant,
    ):
        truth = TruthRecorder(plant)
        truth.start()
        engines = eventually(lambda: len(ready := [w for w in node.workloads() if w.get("metrics_url")]) == 2 and ready)
        config = {
            "tokens": [{"workload": w["name"], "url": w["metrics_url"], "period_s": 0.5} for w in engines],
            "client": {"socket": str(tmp_path / "agent.sock")},
        }
        (tmp_path / "agent.yaml").write_text(yaml.safe_dump(config))
        agent = AgentProcess(node.directory, tmp_path / "state", tmp_path / "agent.yaml", scraped)
        agent.start()
        try:
            prometheus = _prometheus(program, tmp_path, [scraped, grid.port], processes)
            _configure(tmp_path, prometheus, {w["name"]: w["metrics_url"].removesuffix("metrics") + "v1" for w in engines})
            proxy = _proxy(litellm, tmp_path, processes)
            yield Gateway(proxy, prometheus, processes[0], tmp_path / "agent.sock", tmp_path / "rows.jsonl", node, truth)
        finally:
            truth.ended.set()
            truth.join()
            for process in processes:
                process.terminate()
                process.wait(60)
            agent.stop()
            grid.close()


def _grid() -> PageServer:
    """A metrics endpoint with the intensity of a grid, as `wattlens site` has it."""
    name = "wattlens_grid_carbon_intensity_grams_per_kilowatt_hour"
    zones = (("DE", INTENSITIES["chat"]), ("FR", INTENSITIES["code"]))
    text = "".join(f'{name}{{zone="{zone}",basis="direct, hourly"}} {value}\n' for zone, value in zones)
    return PageServer(text.encode)


def _prometheus(program: str, home: Path, ports: list[int], processes: list[subprocess.Popen[bytes]]) -> str:
    port = free_port()
    scrape = {"job_name": "wattlens", "static_configs": [{"targets": [f"127.0.0.1:{each}" for each in ports]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
    (home / "prometheus.yml").write_text(json.dumps(config))
    files = [f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}"]
    with (home / "prometheus.log").open("wb") as log:
        processes.append(subprocess.Popen([program, *files, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log))
    return f"http://127.0.0.1:{port}"


def _configure(home: Path, prometheus: str, urls: Mapping[str, str]) -> None:
    """The files of docs/litellm.md, with the addresses of here, a key, and loggers that write rows and spans."""
    callback, settings = (re.search(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S) for kind in ("python", "yaml"))
    assert callback
    assert settings
    (home / "wattlens_callback.py").write_text(callback[1].replace("http://prometheus:9090", prometheus))
    (home / "rows.py").write_text(ROWS)
    config = yaml.safe_load(settings[1])
    for model in config["model_list"]:
        model["litellm_params"] |= {"api_base": urls[model["model_name"]], "api_key": "none"}
    config["litellm_settings"]["callbacks"] += ["rows.rows", "otel"]
    config["general_settings"]["master_key"] = KEY
    (home / "config.yaml").write_text(yaml.safe_dump(config))


def _proxy(litellm: str, home: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    port = free_port()
    variables = {"PYTHONPATH": str(Path(__file__).parents[2]), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"} | {
        "OTEL_EXPORTER": "console"
    }
    with (home / "proxy.log").open("wb") as log:
        command = [litellm, "--config", str(home / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        processes.append(subprocess.Popen(command, cwd=home, env=os.environ | variables, stdout=log, stderr=log))
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert processes[-1].poll() is None, (home / "proxy.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/health/liveliness", timeout=5):
                return True
        except OSError:
            return False

    eventually(is_up, 420)
    return url


def test_shares_of_all_requests_are_the_energy_of_their_engines(gateway: Gateway) -> None:
    """Header and spend log of each request; the shares at the final prices sum to the engine's active energy."""
    before, hours_before = _true_joules(gateway.node), gateway.hours()
    sent = 0
    for model in ("chat", "code"):
        for _ in range(30):  # until a price has been scraped
            headers, _ = gateway.send(model, 400, 200)
            sent += 1
            if headers["x-wattlens-energy-wh"] is not None:
                break
            time.sleep(1)
    warm = sent
    for words, tokens in ((300, 120), (900, 40), (50, 200), (1200, 80)):
        for model in ("chat", "code"):
            headers, _ = gateway.send(model, words, tokens)
            assert float(headers["x-wattlens-energy-wh"]) > 0
            assert float(headers["x-wattlens-energy-lower-wh"]) <= float(headers["x-wattlens-energy-wh"])
            assert float(headers["x-wattlens-co2e-g"]) == pytest.approx(
                float(headers["x-wattlens-energy-wh"]) * INTENSITIES[model] / 1000, rel=1e-4
            )
            assert headers["x-wattlens-price"] == "provisional"
            headers, body = gateway.send(model, words, tokens, stream=True)
            assert headers["x-wattlens-energy-wh"] is None
            assert b"token" in body
            sent += 2
    rows = eventually(lambda: len(entries := gateway.logged()) == sent and entries)
    for row in rows[warm:]:
        entry = row["metadata"]["spend_logs_metadata"]["wattlens"]
        assert entry["engine"] == row["model_group"]
        assert entry["energy_wh"] > 0
        assert entry["carbon_basis"] == "direct, hourly"
        assert entry["co2e_g"] == pytest.approx(entry["energy_wh"] * INTENSITIES[row["model_group"]] / 1000)

    counts = _tokens(rows)
    assert counts["chat"]["cached"] > 0

    def settled() -> list[dict[str, Any]] | None:
        """Hours of the agent, once it has counted all that the gateway logged."""
        hours, totals = gateway.hours(), {name: Counter[str]() for name in counts}
        for hour in hours:
            totals[hour["engine"]] += Counter(hour["tokens"])
        return hours if totals == counts else None

    hours = eventually(settled, 30)
    time.sleep(3)
    hours = gateway.hours()
    after = _true_joules(gateway.node)
    spans = (gateway.rows.parent / "proxy.log").read_text()
    for name in ("gen_ai.usage.output_tokens", "wattlens.energy.upper_joules", "wattlens.co2e.grams"):
        assert f'"{name}"' in spans
    if len(hours) == 2:  # no full hour began meanwhile
        for gpu, name in enumerate(counts):
            hour = next(hour for hour in hours if hour["engine"] == name)
            shares = sum(
                count * hour["prices"][kind]["joules"]
                for kind, count in counts[name].items()
                if hour["prices"][kind] is not None
            )
            assert shares == pytest.approx(hour["active_joules"], rel=1e-9)
            earlier = next((h["active_joules"] + h["idle_joules"] for h in hours_before if h["engine"] == name), 0.0)
            metered, drawn = hour["active_joules"] + hour["idle_joules"] - earlier, after[gpu] - before[gpu]
            assert metered == pytest.approx(drawn, rel=0.1)  # gain of the sensor, and the second at each end


def test_shares_of_a_final_hour_are_the_energy_of_their_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the prices of an hour that is over: the requests' shares sum to each engine's active energy, to the microjoule."""
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "agent.sock"))
    start_ns, end_ns = (round(datetime(2026, 8, 15, *time, tzinfo=UTC).timestamp()) * 10**9 for time in ((11, 55), (12, 0)))
    with (
        _running(tmp_path, f"{NODE}start: {datetime.fromtimestamp(start_ns / 1e9, UTC).isoformat()}\n") as gateway,
        gateway.node.plant() as plant,
    ):
        sent = 0
        for words, tokens in ((300, 120), (900, 40), (50, 200), (1200, 80), (400, 160), (10, 250)):
            for model in ("chat", "code"):
                for stream in (False, True):
                    gateway.send(model, words, tokens, stream=stream)
                    sent += 1
        assert plant.now_ns() < end_ns, "the requests took minutes"
        rows = eventually(lambda: len(rows := gateway.logged()) == sent and rows)
        final = eventually(lambda: len(ended := [hour for hour in gateway.hours() if hour["final"]]) == 2 and ended, 600, 1)
        counts = _tokens(rows)
        assert {hour["engine"]: Counter(hour["tokens"]) for hour in final} == counts
        for hour in final:
            usages = [row["metadata"]["usage_object"] for row in rows if row["model_group"] == hour["engine"]]
            shares = [wattlens.request_energy(usage, hour["engine"], end_ns / 1e9 - 1) for usage in usages]
            assert not any(share.provisional for share in shares)
            shares_uj = round(math.fsum(share.joules or 0.0 for share in shares) * 1e6)
            active_uj, idle_uj = (round(hour[f"{state}_joules"] * 1e6) for state in ("active", "idle"))
            assert shares_uj == active_uj

            gpu = ("chat", "code").index(hour["engine"])
            first, last = (gateway.truth.at(plant.uuid(gpu), hour[at]) for at in ("start_ns", "end_ns"))
            drawn_uj, gain = last.true_uj - first.true_uj, plant.truth(gpu).gain
            metered_uj = active_uj + idle_uj
            print(
                f"{hour['engine']}: {len(shares)} requests, shares {shares_uj} uJ, active {active_uj} uJ, idle {idle_uj} uJ; "
                f"plant {drawn_uj} uJ: {metered_uj / drawn_uj - 1:+.3%}, of it the sensor's gain {gain - 1:+.3%}"
            )
            assert metered_uj == pytest.approx(drawn_uj * gain, rel=0.005)  # a tick of the counter at each end
            query = f'wattlens_generation_price_joules_per_token{{engine="{hour["engine"]}",hour="last"}}'
            (price,) = eventually(partial(gateway.query, query))  # at its next scrape
            assert float(price["value"][1]) == pytest.approx(hour["prices"]["generation"]["joules"], rel=1e-9)


def test_requests_go_on_without_prometheus(gateway: Gateway) -> None:
    """After Prometheus has ended, each request is served and logged; its energy is at the last price that was fetched."""
    eventually(lambda: gateway.send("chat", 50, 10)[0]["x-wattlens-energy-wh"] is not None)
    assert "chat" in {sample["metric"]["engine"] for sample in gateway.query("wattlens_prompt_price_joules_per_token")}
    gateway.prometheus_process.terminate()
    gateway.prometheus_process.wait(60)
    with pytest.raises(OSError):
        urllib.request.urlopen(gateway.prometheus, timeout=5)
    before = len(gateway.logged())
    headers, _ = gateway.send("chat", 50, 10)
    assert headers["x-wattlens-energy-wh"] is not None
    _, body = gateway.send("code", 50, 10)
    assert json.loads(body)["usage"]["completion_tokens"] == 10
    rows = eventually(lambda: len(rows := gateway.logged()) > before + 1 and rows)
    entry = next(row for row in rows[before:] if row["model_group"] == "code")["metadata"]["spend_logs_metadata"]["wattlens"]
    assert ("energy_wh" in entry) != ("reason" in entry)


def _tokens(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Tokens by engine and kind in rows of the spend log."""
    counts = {name: Counter[str]() for name in ("chat", "code")}
    for row in rows:
        usage = row["metadata"]["usage_object"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        counts[row["model_group"]] += Counter(
            prompt=usage["prompt_tokens"] - cached, cached=cached, generation=usage["completion_tokens"]
        )
    return counts


def _true_joules(node: SimulatedNode) -> list[float]:
    with node.plant() as plant:
        return [plant.truth(gpu).true_uj / 1e6 for gpu in range(2)]
