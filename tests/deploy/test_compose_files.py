"""The compose files and what they mount: confined, on loopback only, pinned, and consistent with each other."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from energy_agent.config import agent as config
from energy_agent.sim import scenario
from energy_agent.sim.building import site as facility_site
from energy_agent.sim.building.building import node_max_w
from energy_agent.sim.building.modbus_meters import ADDRESSES, HOST
from tests.support import need_program, promtool_with
from wattlens.cli import main
from wattlens.site.file import load_site

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy/compose"


class Loader(yaml.SafeLoader):
    """Knows the two tags of an override."""


Loader.add_constructor("!reset", lambda loader, node: None)
Loader.add_constructor(
    "!override",
    lambda loader, node: (loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping)(node),
)
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU: dict[str, Any] = yaml.load((ROOT / "docker-compose.gpu.yml").read_text(), Loader=Loader)
PROMETHEUS: dict[str, Any] = yaml.safe_load((HERE / "prometheus.yml").read_text())


def check_mounts(service: dict[str, Any], volumes: dict[str, Any]) -> None:
    """Files of the repository are there and cannot be written; volumes are declared."""
    for volume in service.get("volumes", []):
        source, target, *mode = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]
        else:
            assert source in volumes
        assert target.startswith("/")


@pytest.mark.parametrize(
    ("name", "more"), [*((name, {}) for name in COMPOSE["services"]), *((name, GPU) for name in GPU["services"])]
)
def test_a_service_is_confined_and_published_on_loopback_only(name: str, more: dict[str, Any]) -> None:
    service = COMPOSE["services"].get(name, {}) | more.get("services", {}).get(name, {})
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add") == (["SYS_ADMIN"] if name == "actuator" else None)
    if not more:
        assert {"mem_limit", "cpus", "pids_limit", "logging", "tmpfs"} <= service.keys()
        assert not {"privileged", "devices"} & service.keys()
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-(\d+)\}:\1", port)
    check_mounts(service, COMPOSE["volumes"] | more.get("volumes", {}))


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_service_has_pinned_image_and_healthcheck(name: str) -> None:
    service = COMPOSE["services"][name]
    (variable, default) = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):-(.+)\}", service["image"]).groups()  # type: ignore[union-attr]
    assert re.fullmatch(
        r"wattlens:\w+" if variable.startswith("WATTLENS") else r"docker\.io/\w+/[\w-]+:v?\d+\.\d+\.\d+", default
    )
    assert ("build" in service) is variable.startswith("WATTLENS")
    if name == "report":
        assert (service["restart"], service["profiles"], service["network_mode"]) == ("no", ["report"], "none")
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


def test_every_named_volume_is_used() -> None:
    used = {v.split(":")[0] for s in COMPOSE["services"].values() for v in s.get("volumes", [])}
    assert COMPOSE["volumes"].keys() == {v for v in used if not v.startswith(".")}


def test_agent_and_site_live_in_the_node_they_measure() -> None:
    services = COMPOSE["services"]
    for name, target in (("node", "sim"), ("agent", "agent"), ("site", "site")):
        assert services[name]["build"]["target"] == target
        assert services[name]["user"] == "65532:65532"
        if name != "node":
            assert services[name]["pid"] == services[name]["network_mode"] == "service:node"
            assert services[name]["depends_on"]["node"] == {"condition": "service_healthy", "restart": True}
    assert services["node"]["networks"]["default"]["aliases"] == ["agent", "site"]


def test_the_site_reads_the_meters_that_the_building_has() -> None:
    wanted = scenario.load(str(HERE / "scenario.yaml"))
    assert wanted.facility is not None
    assert wanted.host is not None
    params = wanted.facility.sized(node_max_w(wanted.host, wanted.skus))
    units = {point.id: unit for unit, point in enumerate(params.points, 1)}
    about = {"host": HOST, "port": wanted.facility.modbus_port}
    meters = facility_site.described(params, units, ADDRESSES)
    site_meters = load_site(HERE / "site.yaml").all_meters
    assert len(site_meters) == len(meters)
    for meter, facility_meter in zip(site_meters, meters, strict=True):
        is_there = facility_site._configured(about, facility_meter, 5.0)
        for key, value in is_there.pop("modbus").items():
            assert _same(getattr(meter.modbus, key), value), (meter.id, key)
        for key, value in is_there.items():
            assert _same(getattr(meter, key), value), (meter.id, key)


def _same(actual: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return all(_same(getattr(actual, key), value) for key, value in expected.items())
    return bool(actual == expected)


def test_labels_join_what_belongs_together() -> None:
    agent, site = config.load(HERE / "agent.yaml"), load_site(HERE / "site.yaml")
    labels = {job["job_name"]: job["static_configs"][0]["labels"] for job in PROMETHEUS["scrape_configs"]}
    cluster = agent.node.cluster
    assert labels == {
        "wattlens": {"instance": agent.node.name, "site": site.site.name, "cluster": cluster},
        "wattlens-site": {"instance": site.site.name, "cluster": cluster},
    }
    assert site.site.cluster == cluster
    assert COMPOSE["services"]["node"]["hostname"] == agent.node.name


def test_the_job_reads_both_ledgers_and_makes_an_interim_report() -> None:
    report = COMPOSE["services"]["report"]
    volumes = dict(v.split(":", 1) for v in report["volumes"])
    assert (volumes["ledger"], volumes["site"]) == ("/ledger/gpu-node-1:ro", "/ledger/site:ro")
    assert {"--ledger=/ledger", "--quarter=current"} <= set(report["command"])
    for org in (HERE / "org.yaml", HERE / "gpu/org.yaml"):
        assert yaml.safe_load(org.read_text())["sites"] == [{"file": "site.yaml"}]
        assert main(["report", "check", str(org)]) == 0


def test_measured_and_simulated_energy_lie_apart() -> None:
    for name in ("agent", "site", "report"):
        volumes = [[v for v in f["services"][name]["volumes"] if not v.startswith((".", "$"))] for f in (COMPOSE, GPU)]
        simulated, measured = ({v.split(":")[0] for v in each} for each in volumes)
        assert not simulated & measured


def test_steering_is_off_until_the_owner_allows_it() -> None:
    from dvfs.actuator.allow_list import load

    assert load(HERE / "gpu/actuator.yaml").allow.rules == ()
    assert GPU["services"]["actuator"]["profiles"] == ["enforce"]
    assert GPU["services"]["actuator"]["network_mode"] == "none"
    agent = config.load(HERE / "gpu/agent.yaml")
    assert agent.dvfs.mode == "observe"
    socket = next(w for w in GPU["services"]["actuator"]["command"] if w.startswith("--socket="))
    assert socket == "--socket=/run/wattlens/actuator/actuator.sock", "where an agent of root looks for it"


@pytest.mark.peer
@pytest.mark.parametrize("more", [[], ["-f", "docker-compose.gpu.yml", "--profile", "enforce"]], ids=["base", "gpu"])
def test_compose_reads_them_without_a_warning(more: list[str]) -> None:
    command = [need_program("docker"), "compose", "-f", "docker-compose.yml", *more, "--profile", "report", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
    sources = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    for source in sources:
        address = urlsplit(source["url"])
        ports = COMPOSE["services"][address.hostname]["ports"]
        assert [port.rpartition(":")[2] for port in ports] == [str(address.port)]
    written = [urlsplit(target["url"]).hostname for target in PROMETHEUS["remote_write"]]
    assert written == ["victoria-metrics"]
    for path in folder.glob("*.json"):
        kinds = {v["query"] for v in json.loads(path.read_text())["templating"]["list"] if v["type"] == "datasource"}
        assert kinds <= {source["type"] for source in sources}


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration() -> None:
    command = [*promtool_with("check", "config", "--syntax-only"), str(HERE / "prometheus.yml")]
    subprocess.run(command, check=True, capture_output=True)
