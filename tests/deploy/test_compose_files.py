"""The compose file and what it mounts: confined, on loopback only, and consistent with each other."""

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from energy_agent import config
from energy_agent.sim import scenario
from tests.support import need_program

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
HERE = ROOT / "deploy/compose"


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_is_confined_and_published_on_loopback_only(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]
        assert target.startswith("/")


def test_the_agent_lives_in_the_node_it_measures() -> None:
    agent = COMPOSE["services"]["agent"]
    assert agent["pid"] == agent["network_mode"] == "service:node"
    assert agent["build"]["target"] == "agent"
    assert COMPOSE["services"]["node"]["build"]["target"] == "sim"


def test_tokens_are_read_where_the_scenario_serves_them() -> None:
    (source,) = config.load(HERE / "agent.yaml").tokens
    wanted = scenario.load(str(HERE / "scenario.yaml"))
    (serving,) = [w for w in wanted.workloads if w.kind == "serving"]
    assert source.workload == serving.name
    address = urlsplit(source.url)
    assert (address.hostname, address.port) == ("127.0.0.1", serving.metrics_port)


def test_grafana_finds_its_dashboards_and_its_data() -> None:
    grafana = COMPOSE["services"]["grafana"]
    mounts = {v.split(":")[1]: ROOT / v.split(":")[0] for v in grafana["volumes"] if v.startswith(".")}
    provider = yaml.safe_load((HERE / "grafana/provisioning/dashboards/wattlens.yml").read_text())["providers"][0]
    folder = mounts[provider["options"]["path"]]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (folder / home.name).exists()
    (source,) = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    for path in folder.glob("*.json"):
        kinds = {v["query"] for v in json.loads(path.read_text())["templating"]["list"] if v["type"] == "datasource"}
        assert kinds <= {source["type"]}


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration() -> None:
    promtool = need_program("promtool")
    subprocess.run(
        [promtool, "check", "config", "--syntax-only", str(HERE / "prometheus.yml")],
        check=True,
        timeout=30,
        capture_output=True,
    )
