"""The compose file for real: images built offline, the simulated node and the agent up, Prometheus asked, a report made.

Grafana is left out: its image cannot be made from packages. Its provisioning files are checked in test_compose_files.py.
"""

import json
import os
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.period import Asked
from tests.deploy.engine import Engine, engine, import_build_image, make_wheels
from tests.support import eventually, free_port, need_program
from wattlens.report.build import Options
from wattlens.report.build import build as build_facts

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

BUILD, BASE, PROMETHEUS, AGENT, SIM = (f"wattlens-test/{n}" for n in ("build", "base", "prometheus", "agent", "sim"))
PORTS = {"WATTLENS_PORT": str(free_port()), "PROMETHEUS_PORT": str(free_port())}
NODE, PROM = f"http://127.0.0.1:{PORTS['WATTLENS_PORT']}", f"http://127.0.0.1:{PORTS['PROMETHEUS_PORT']}"


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The three services up and healthy."""
    for program in ("dockerd", "docker", "mmdebstrap", "prometheus"):
        need_program(program)
    if os.geteuid() != 0:
        pytest.skip("a Docker engine of one's own needs root")
    folder = tmp_path_factory.mktemp("docker")
    wheels = folder / "wheels"
    make_wheels(wheels, "3.13")
    images = {"PROMETHEUS_IMAGE": PROMETHEUS, "WATTLENS_IMAGE": AGENT, "WATTLENS_SIM_IMAGE": SIM}
    with engine(folder, images | PORTS) as found:
        import_build_image(found, folder, BUILD)
        build(found, folder, BASE, f"FROM {BUILD}\nRUN apt-get purge -y gcc libc6-dev && apt-get autoremove -y")
        shutil.copy(need_program("prometheus"), folder / "prometheus")
        build(found, folder, PROMETHEUS, f'FROM {BASE}\nCOPY prometheus /bin/prometheus\nENTRYPOINT ["/bin/prometheus"]')
        for target, tag in (("agent", AGENT), ("sim", SIM)):
            found.run(
                "build", "--network", "none", "--file", "deploy/container/Dockerfile", "--target", target, "--tag", tag,
                "--build-context", f"wheels={wheels}", "--build-arg", f"BASE_IMAGE={BASE}",
                "--build-arg", f"BUILD_IMAGE={BUILD}", ".",
            )  # fmt: skip
        found.compose(
            "up", "--detach", "--wait", "--wait-timeout", "90", "--pull", "never", "--no-build", "agent", "prometheus"
        )
        yield found


def build(docker: Engine, folder: Path, tag: str, recipe: str) -> None:
    """Build a small image of the test's own, with what lies in `folder/context`."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(recipe + "\n")
    if (folder / "prometheus").exists():
        shutil.move(folder / "prometheus", context / "prometheus")
    docker.run("build", "--network", "none", "--tag", tag, context)


def query(expression: str) -> list[dict[str, Any]]:
    """An instant query's result."""
    with urllib.request.urlopen(f"{PROM}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=5) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def value(expression: str) -> float:
    """The only value of an instant query; 0 while there is none."""
    found = query(expression)
    return float(found[0]["value"][1]) if found else 0.0


def test_the_agent_image_has_no_compiler_and_no_pip(docker: Engine) -> None:
    assert docker.run("run", "--rm", "--network", "none", AGENT, "--version").startswith("wattlens ")
    look = "command -v cc || command -v gcc || command -v pip || ls -d /opt/cache || echo none"
    assert docker.run("run", "--rm", "--network", "none", "--entrypoint", "sh", AGENT, "-c", look).strip() == "none"


def test_containers_run_confined(docker: Engine) -> None:
    for name in ("node", "agent", "prometheus"):
        (state,) = json.loads(docker.run("inspect", f"wattlens-test-{name}-1"))
        assert state["HostConfig"]["ReadonlyRootfs"] is True
        assert state["State"]["Status"] == "running"
        status = docker.compose("exec", "-T", name, "cat", "/proc/1/status" if name != "agent" else "/proc/self/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(fields["CapEff"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
    (agent,) = json.loads(docker.run("inspect", "wattlens-test-agent-1"))
    assert agent["State"]["Health"]["Status"] == "healthy"


def test_prometheus_sees_every_gpu_workload_and_token(docker: Engine) -> None:
    eventually(lambda: value("count(wattlens_gpu_up == 1)") == 8, 30, 0.5)
    eventually(lambda: value('sum(wattlens_workload_energy_joules_total{workload="train-llama"})') > 0, 30, 0.5)
    eventually(lambda: value('wattlens_tokens_total{workload="chat-qwen", phase="generation"}') > 0, 30, 0.5)
    (info,) = query("wattlens_node_info")
    assert info["metric"]["simulated"] == "true"
    assert info["metric"]["instance"] == "gpu-node-1"
    groups = json.load(urllib.request.urlopen(f"{PROM}/api/v1/rules", timeout=5))["data"]["groups"]
    assert groups
    assert not [r["name"] for g in groups for r in g["rules"] if r["health"] == "err"]


def test_every_joule_that_prometheus_shows_is_booked_once(docker: Engine) -> None:
    devices = "sum(wattlens_gpu_energy_joules_total)"
    buckets = (
        "sum(wattlens_workload_energy_joules_total) + sum(wattlens_gpu_idle_energy_joules_total)"
        " + sum(wattlens_gpu_unattributed_energy_joules_total)"
    )
    eventually(lambda: value(devices) > 0, 30, 0.5)
    assert value(f"({buckets}) - ({devices})") == pytest.approx(0, abs=1e-3)


def test_a_stopped_agent_leaves_a_ledger_that_makes_a_report(docker: Engine, tmp_path: Path) -> None:
    docker.compose("stop", "--timeout", "10", "agent")
    docker.run("cp", "wattlens-test-agent-1:/var/lib/wattlens", tmp_path / "ledger")
    facts = build_facts(Options(str(tmp_path / "ledger"), Asked()))
    assert facts.simulated
    assert facts.conservation.holds
    assert sum(int(figure.dims["devices"]) for figure in facts.of("energy.gpu", "sku")) == 8
    assert {figure.dims["workload"] for figure in facts.by_prefix("largest/")} >= {"train-llama", "chat-qwen"}
    assert any(figure.value for figure in facts.of("j_per_token.gpu", "model"))
